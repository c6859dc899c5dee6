"""One file is one method; the file's name is the value of --method."""
