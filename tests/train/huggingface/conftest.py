"""Nothing is looked up on the network: said before Transformers is imported, here and in workers."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
