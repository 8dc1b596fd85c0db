"""How anything reaches a person or a pipe; all text of others is made safe here."""
