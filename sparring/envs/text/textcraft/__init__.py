"""TextCraft: craft an item from a list of commands (`sparring/TextCraft-v1`; extra `textcraft`)."""
