"""bjoern has no command: this starts it on the port that is given."""
import sys

import app
import bjoern

bjoern.run(app.application, "127.0.0.1", int(sys.argv[1]))
