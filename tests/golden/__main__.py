"""`python -m tests.golden`: write the expected events anew. Read the difference before committing it."""

from tests.golden.recorded import NAMES, write_expected

for name in NAMES:
    write_expected(name)
