"""The synthetic hospital's notes: sentences, names and their gold, and vocabularies that hold some of the names."""
