"""A package and a book that open up DCFNet, a network for pansharpening.

The rooms, each importing only from those before it: `imagery` (a pair of images becomes patches),
`networks`, `measure` (metrics and tables), `training`, `fusion` (scenes of any size), `inside`
(Grad-CAM and the claims), `show` (everything that is drawn). ``__init__.pyi`` lists the names that
a reader needs first; they and the rooms are loaded when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
