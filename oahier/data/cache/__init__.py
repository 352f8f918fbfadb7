"""The cache of preprocessed knees, and the fingerprints of the files it was made from."""
