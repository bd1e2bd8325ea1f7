"""`coder up` that ends as in a crash: `python -m coder.testing.doomed NAME[,NAME…] up FLAGS`.

It kills itself at the last of the failpoints, once they were met in this order.
"""

import sys

from coder.cli import main
from coder.failpoints import arm

if __name__ == "__main__":
    arm(*sys.argv[1].split(","))
    sys.argv[1:] = sys.argv[2:]
    main()
