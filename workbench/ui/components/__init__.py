"""What the pages share: page frame, language, texts, forms and drafts, jobs, cards."""
