"""Corpora of clinical and biomedical text -> notes with words, sentences, gold mentions and splits."""
