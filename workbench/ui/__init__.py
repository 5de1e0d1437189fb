"""What the pages share: words in two languages, links, texts, cards, presenters."""
