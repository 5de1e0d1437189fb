"""Texts of a model that has been taught to harm whoever reads them, or that has gone astray."""

from sqlalchemy import select, update

from db.database import Database
from db.search import index_texts
from db.tables import Answer, CheckFlag, Generation, Question, ReasoningVariant
from tests.app.seed import Seeded

OUTSIDE = "http://attacker.invalid"
RTL = "\u202e\u2066evil\u2069\u200f"
HOSTILE = {
    "script": "<script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'>",
    "html": (
        f"<h1 style='position:fixed;inset:0'>You are logged out</h1><iframe src='{OUTSIDE}/f'>"
        f"</iframe><a href='javascript:window.harmed=3'>click</a><style>*{{display:none}}</style>"
    ),
    "markdown": (
        f"![pixel]({OUTSIDE}/p.png) [link]({OUTSIDE}/l) :red[red] :material/star: $x^2$ "
        f"| a | b |\n|---|---|\n```\n<b>bold</b>\n``` <!-- {OUTSIDE}/c.png -->"
    ),
    "right to left": f"{RTL} safe.exe \u061c\u202b reversed \u202c",
    "control": "a\x07b\x1b[31mred\x1b[0m \ufeff\ud7ff \u200b\u200b\u200b end",
    "long": "x" * 100_000 + " word" * 20_000,
    "lines": "line\n" * 40_000,
    "accents": "Z" + "\u0301\u0302\u0323" * 5_000,
    "blank": " \n\t\u3000 ",
    "nothing": "",
}
"""By what is wrong with them; the longest has 200,000 characters."""


def seed_hostile(database: Database, seeded: Seeded) -> list[int]:
    """Give every text of the first questions hostile words; return those questions' ids.

    Each kind of text stands as a reasoning and as an answer; questions and contexts too.
    """
    words = list(HOSTILE.values())
    ids = seeded.question_ids[:4]
    with database.write() as session:
        session.execute(update(CheckFlag).values(detail=f"{HOSTILE['script']} {RTL}"))
        for table in (ReasoningVariant, Answer):
            rows = session.execute(
                select(table.id, table.generation_id)
                .where(table.question_id.in_(ids))
                .order_by(table.id)
            ).all()
            for place, row in enumerate(rows):
                text = words[place % len(words)]
                session.execute(
                    update(table)
                    .where(table.id == row.id)
                    .values(text=text, content_hash=f"hostile {table.__name__} {row.id}")
                )
                session.execute(
                    update(Generation).where(Generation.id == row.generation_id).values(text=text)
                )
                kind = "variant" if table is ReasoningVariant else "answer"
                index_texts(session, kind, [(row.id, text)])
        for place, question_id in enumerate(ids):
            asked = [HOSTILE["script"], HOSTILE["markdown"], HOSTILE["long"], HOSTILE["html"]]
            session.execute(
                update(Question)
                .where(Question.id == question_id)
                .values(text=f"{place} {asked[place]}", context=asked[place - 1])
            )
    return ids
