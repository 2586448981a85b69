"""The modules that generated repositories are made of: right as they stand here."""
