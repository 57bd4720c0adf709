"""The choices that parameters offer, in the field's own words."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Fit(StrEnum):
    """Ways to bring a picture to `width` × `height`. The names are sharp's."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    COVER = "cover"
    CONTAIN = "contain"
    FILL = "fill"


class Gravity(StrEnum):
    """The part of the picture that `cover` keeps, and the place where `contain` puts the picture."""

    CENTER = "center"
    NORTH = "north"
    NORTHEAST = "northeast"
    EAST = "east"
    SOUTHEAST = "southeast"
    SOUTH = "south"
    SOUTHWEST = "southwest"
    WEST = "west"
    NORTHWEST = "northwest"
    SMART = "smart"
    """The part that draws the eye; the center where nothing is cut."""


class Turn(IntEnum):
    """A rotation, clockwise in degrees: those that lose nothing."""

    NONE = 0
    QUARTER = 90
    HALF = 180
    THREE_QUARTERS = 270


class Subsampling(StrEnum):
    """Chroma subsampling of a lossy result."""

    FULL = "4:4:4"
    HALF = "4:2:2"
    QUARTER = "4:2:0"


class Metadata(StrEnum):
    """Treatment of EXIF (GPS and all) and XMP."""

    STRIP = "strip"
    COPYRIGHT = "copyright"
    KEEP = "keep"


class Profile(StrEnum):
    """The colours of a result."""

    SRGB = "srgb"
    P3 = "p3"
    KEEP = "keep"


class Placeholder(StrEnum):
    """Kinds of placeholder to show until the picture is there."""

    THUMBHASH = "thumbhash"
