"""The small parts of scoring: texts of controls, odd specs, odd log-probabilities."""

import pytest

from db.errors import UsageError
from serving.engine.client import CompletionClient
from serving.engine.messages import CompletionRequest, SamplingParameters
from serving.scoring.pairs import shuffled, truncated
from serving.scoring.spec import parse_score_spec
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab


def test_a_shuffled_text_has_the_same_words_and_a_truncated_one_the_first_half() -> None:
    text = "You should ask why. You should look twice. You should wait. You should go."
    assert shuffled(text) == shuffled(text) != text
    assert sorted(shuffled(text).split()) == sorted(text.split())
    assert truncated(text) == "You should ask why. You should look twice."
    assert truncated("You should ask why now") == "You should"
    japanese = "理由を尋ねるべきである"
    assert sorted(shuffled(japanese)) == sorted(japanese)
    assert shuffled(japanese) != japanese
    assert truncated(japanese) == japanese[:5]
    assert (shuffled("a"), truncated("a")) == ("a", "a")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"answers": "people"}, "name one"),
        ({"answers": "people", "model": "fake", "sweep": 1}, "no sweep"),
        ({"most_answers": 0}, "most_answers"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_an_odd_spec_is_one_sentence(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_score_spec(values)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "text",
        [None],
        [None, None, None],
        [None, {"7": {"logprob": "x"}}, {"8": {"logprob": -1.0}}],
        [None, {"7": {"logprob": float("inf")}}, {"8": {"logprob": -1.0}}],
        [None, {"7": {"logprob": 3.0}}, {"8": {"logprob": -1.0}}],
        [None, {"9": {"logprob": -1.0}}, {"8": {"logprob": -1.0}}],
    ],
)
async def test_odd_log_probabilities_are_none_at_all(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch, odd: object
) -> None:
    monkeypatch.setattr("tests.fakes.server.told_log_probs", lambda prompt, log_prob: odd)
    async with CompletionClient(fake_server.endpoint, retry=lab.QUICK) as client:
        request = CompletionRequest(
            model="fake",
            prompts=[[6, 7, 8]],
            sampling=SamplingParameters(max_tokens=1),
            scores_prompt=True,
        )
        result = await client.complete(request)
    assert result.choices[0].prompt_log_probs is None
    assert fake_server.requests[-1]["prompt_logprobs"] == 0
