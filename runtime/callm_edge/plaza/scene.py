"""The plaza without people: paving, facade, furniture, their shadows, and what of it stands in front of passers-by."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from callm_edge.plaza.camera import HEIGHT, WIDTH, project, shadow_points

Colour = tuple[int, int, int]

# Drawn three times too large and averaged down: the only smoothing that keeps thin joints and mullions alive.
_OVERSAMPLE = 3
_TEXTURE_PX_PER_M = 48
_GROUND = (-18.0, 3.5, 18.0, 22.5)  # x0, y0, x1, y1 in metres; the facade stands on the far edge
_FACADE_TOP_M = 3.4

# The one-way walkway: its middle line runs from left to right, and all normal people follow it that way.
LANE_START, LANE_END = (-12.5, 11.6), (12.5, 13.4)
LANE_HALF_WIDTH_M = 1.0
LANE_GAP = (1.6, 4.6)  # x range, metres, where the bollards leave room to cross


@dataclass(frozen=True)
class Occluder:
    """A fixed object that can stand in front of people.

    y: metres from the mast; hides what stands farther. box: x, y, w, h pixels. alpha: (h, w) uint8 cover.
    """

    y: float
    box: tuple[int, int, int, int]
    alpha: np.ndarray


@dataclass(frozen=True)
class Scene:
    """background: (360, 640, 3) BGR uint8. sunlit: (180, 320) uint8, 255 where the sun reaches the ground."""

    background: np.ndarray
    sunlit: np.ndarray
    occluders: tuple[Occluder, ...]


def lane_y(x: float | np.ndarray) -> float | np.ndarray:
    """Distance from the mast, metres, of the walkway's middle line at ``x`` metres."""
    (x0, y0), (x1, y1) = LANE_START, LANE_END
    return y0 + (np.asarray(x) - x0) * (y1 - y0) / (x1 - x0)


def _noise(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> np.ndarray:
    """Smooth noise in about -1..1: (rows, cols) float32, blotches of ``cell`` pixels."""
    coarse = rng.standard_normal((shape[0] // cell + 3, shape[1] // cell + 3)).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) * 0.6


def _texel(x: float, y: float) -> tuple[int, int]:
    """Paving texture pixel of a point of the ground; far is up."""
    return round((x - _GROUND[0]) * _TEXTURE_PX_PER_M), round((_GROUND[3] - y) * _TEXTURE_PX_PER_M)


def _polygon(points: list[tuple[float, float]]) -> np.ndarray:
    return np.array([_texel(x, y) for x, y in points], np.int32)


def _slabs(image: np.ndarray, rng: np.random.Generator, size: tuple[int, int], spread: float, joint: float) -> None:
    """Lay slabs in running bond: each gets its own tone, and the joints between them are dark with one lit edge."""
    rows, cols = image.shape[:2]
    height, width = size
    for row in range(rows // height + 1):
        offset = -(width // 2) * (row % 2)
        for col in range(cols // width + 2):
            y, x = row * height, col * width + offset
            part = image[y : y + height, max(x, 0) : max(x + width, 0)]
            if part.size:
                tone = rng.normal(0.0, spread)
                part += np.float32(tone) + (rng.normal(0, spread * 0.25, 3)).astype(np.float32)
                part[:2] *= joint
                part[2:3] += 5
                if x >= 0:
                    part[:, :2] *= joint


def _arrow(texture: np.ndarray, x: float) -> None:
    """A worn white arrow on the walkway, pointing the way people go."""
    shape = [(-0.9, 0.11), (0.2, 0.11), (0.2, 0.36), (0.95, 0.0), (0.2, -0.36), (0.2, -0.11), (-0.9, -0.11)]
    middle = float(lane_y(x))
    slope = (LANE_END[1] - LANE_START[1]) / (LANE_END[0] - LANE_START[0])
    points = [(x + along - slope * side, middle + side + slope * along) for along, side in shape]
    mask = np.zeros(texture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [_polygon(points)], 255, cv2.LINE_AA)
    worn = cv2.GaussianBlur(mask, (3, 3), 0).astype(np.float32)[..., None] / 255 * 0.72
    texture *= 1 - worn
    texture += worn * np.array((206, 214, 216), np.float32)


def _paving(rng: np.random.Generator) -> np.ndarray:
    """Ground seen from straight above: (rows, cols, 3) float32 BGR, 48 pixels a metre."""
    x0, y0, x1, y1 = _GROUND
    rows, cols = round((y1 - y0) * _TEXTURE_PX_PER_M), round((x1 - x0) * _TEXTURE_PX_PER_M)
    image = np.empty((rows, cols, 3), np.float32)
    image[:] = (153, 162, 168)
    _slabs(image, rng, (30, 44), 4.6, 0.80)

    # Bands of dark granite divide the field as on any real plaza, and give the perspective something to hold on to.
    granite = np.empty_like(image)
    granite[:] = (96, 98, 99)
    _slabs(granite, rng, (16, 22), 4.0, 0.84)
    bands = np.zeros((rows, cols), np.uint8)
    for x in np.arange(-16.2, 18, 5.4):
        cv2.fillPoly(bands, [_polygon([(x - 0.22, y0), (x - 0.22, y1), (x + 0.22, y1), (x + 0.22, y0)])], 255)
    for y in (7.1, 17.0):
        cv2.fillPoly(bands, [_polygon([(x0, y - 0.22), (x1, y - 0.22), (x1, y + 0.22), (x0, y + 0.22)])], 255)
    cv2.fillPoly(bands, [_polygon([(x0, 21.3), (x1, 21.3), (x1, 22.5), (x0, 22.5)])], 255)
    image[bands > 0] = granite[bands > 0]

    brick = np.empty_like(image)
    brick[:] = (92, 108, 148)
    _slabs(brick, rng, (9, 19), 6.5, 0.84)

    def along(side: float) -> list[tuple[float, float]]:
        return [(x, float(lane_y(x)) + side) for x in (x0, x1)]

    lane = np.zeros((rows, cols), np.uint8)
    cv2.fillPoly(lane, [_polygon(along(-LANE_HALF_WIDTH_M) + along(LANE_HALF_WIDTH_M)[::-1])], 255)
    image[lane > 0] = brick[lane > 0]
    for side in (-LANE_HALF_WIDTH_M, LANE_HALF_WIDTH_M):
        edge = np.zeros((rows, cols), np.uint8)
        cv2.fillPoly(edge, [_polygon(along(side - 0.09) + along(side + 0.09)[::-1])], 255)
        image[edge > 0] = image[edge > 0] * 0.25 + np.array((172, 178, 180), np.float32) * 0.75
    for x in (-9.6, -5.4, -1.4, 6.4, 10.4):
        _arrow(image, x)

    # Two iron covers and a drain, stains, chewing gum: the small dirt without which paving looks like a drawing.
    for x, y, radius in ((-2.9, 8.9, 0.36), (6.9, 15.6, 0.34)):
        centre = _texel(x, y)
        cv2.circle(image, centre, round(radius * _TEXTURE_PX_PER_M), (72, 76, 80), -1, cv2.LINE_AA)
        cv2.circle(image, centre, round((radius - 0.06) * _TEXTURE_PX_PER_M), (96, 101, 106), 2, cv2.LINE_AA)
        for step in range(-3, 4):
            cv2.line(
                image, (centre[0] - 11, centre[1] + step * 4), (centre[0] + 11, centre[1] + step * 4), (60, 64, 68)
            )
    for _ in range(900):
        spot = (int(rng.integers(0, cols)), int(rng.integers(0, rows)))
        tone = float(rng.choice((0.72, 0.8, 1.12)))
        colour = tuple(float(v) * tone for v in image[min(spot[1], rows - 1), min(spot[0], cols - 1)])
        cv2.circle(image, spot, int(rng.integers(1, 3)), colour, -1, cv2.LINE_AA)
    image *= (1 + 0.05 * _noise(rng, (rows, cols), 150) + 0.035 * _noise(rng, (rows, cols), 40))[..., None]
    image += (rng.normal(0, 3.2, (rows, cols, 1))).astype(np.float32)
    return image


def _facade(rng: np.random.Generator) -> np.ndarray:
    """Ground floor of the building: (rows, cols, 3) BGR float32, 48 pixels a metre, top of the picture is 3.4 m."""
    scale = _TEXTURE_PX_PER_M
    rows, cols = round(_FACADE_TOP_M * scale), round((_GROUND[2] - _GROUND[0]) * scale)
    image = np.empty((rows, cols, 3), np.float32)
    image[:] = (142, 162, 178)
    _slabs(image, rng, (24, 52), 4.0, 0.86)

    def box(x: float, z: float, w: float, h: float, colour: tuple[float, float, float]) -> None:
        image[
            max(rows - round((z + h) * scale), 0) : rows - round(z * scale), round(x * scale) : round((x + w) * scale)
        ] = colour

    signs: tuple[Colour, ...] = ((58, 74, 40), (96, 62, 40), (44, 46, 104), (70, 70, 74), (40, 82, 108), (92, 84, 52))
    for bay in range(9):
        left = 0.55 + bay * 4.0
        box(left - 0.1, 0.0, 3.3, 2.74, (104, 118, 130))
        box(left, 0.42, 3.1, 1.98, (52, 50, 46))
        top, bottom = rows - round(2.4 * scale), rows - round(0.42 * scale)
        glass = image[top:bottom, round(left * scale) : round((left + 3.1) * scale)]
        # Glass mirrors the bright sky above and the shop's darkness below.
        fade = np.linspace(1.0, 0.0, glass.shape[0], dtype=np.float32)[:, None, None]
        glass += fade**1.6 * np.array((74, 62, 50), np.float32)
        glass *= (1 + 0.16 * _noise(rng, glass.shape[:2], 24))[..., None]
        for _ in range(9):  # goods and lights behind the pane
            x, z = left + rng.uniform(0.1, 2.7), rng.uniform(0.5, 1.3)
            tint = rng.uniform(50, 110) + rng.normal(0, 16, 3)
            box(x, z, rng.uniform(0.1, 0.35), rng.uniform(0.15, 0.5), (tint[0], tint[1], tint[2]))
        for _ in range(3):
            box(left + rng.uniform(0.2, 2.8), 2.2, 0.1, 0.06, (150, 205, 228))
        for post in (0.0, 1.0, 2.05, 3.04):
            box(left + post, 0.42, 0.06, 1.98, (70, 74, 78))
        box(left, 1.86, 3.1, 0.05, (70, 74, 78))
        if bay % 3 == 1:
            box(left + 1.03, 0.0, 1.03, 2.1, (40, 42, 44))
            box(left + 1.1, 0.12, 0.4, 1.86, (74, 70, 62))
            box(left + 1.58, 0.12, 0.4, 1.86, (66, 62, 56))
            box(left + 1.5, 0.95, 0.04, 0.35, (160, 176, 186))
        sign = signs[bay % len(signs)]
        box(left - 0.05, 2.42, 3.2, 0.42, (float(sign[0]), float(sign[1]), float(sign[2])))
        box(left - 0.05, 2.40, 3.2, 0.03, (30, 32, 34))
        x = left + 0.7
        while x < left + 2.3:  # letters too far away to read
            width = rng.uniform(0.08, 0.2)
            box(x, 2.54, width, 0.18, (196, 206, 212))
            x += width + 0.05
        box(left + 3.22, 0.0, 0.66, 3.4, (150, 170, 186))
        box(left + 3.22, 0.0, 0.05, 3.4, (186, 200, 212))
        box(left + 3.82, 0.0, 0.08, 3.4, (106, 122, 134))
    box(0, 0, cols / scale, 0.34, (112, 122, 130))
    box(0, 0.34, cols / scale, 0.04, (166, 178, 186))
    for bay in (1, 4, 7):
        box(0.55 + bay * 4.0 + 1.03, 0.0, 1.03, 0.4, (44, 46, 48))
    image *= (1 + 0.05 * _noise(rng, (rows, cols), 60))[..., None]
    image[-14:] *= np.linspace(1.0, 0.72, 14, dtype=np.float32)[:, None, None]
    return image


class _Easel:
    """The oversampled picture, painted back to front; every stroke of one object also lands in that object's mask."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.mask = np.zeros(image.shape[:2], np.uint8)

    def pixels(self, points: object) -> np.ndarray:
        image_points, _ = project(np.asarray(points, np.float64).reshape(-1, 3))
        return np.round(image_points * _OVERSAMPLE * 8).astype(np.int32)

    def face(self, points: object, colour: Colour) -> None:
        shape = self.pixels(points)
        cv2.fillPoly(self.image, [shape], colour, cv2.LINE_AA, 3)
        cv2.fillPoly(self.mask, [shape], 255, cv2.LINE_AA, 3)

    def blob(self, point: tuple[float, float, float], radius_m: float, colour: Colour) -> None:
        centre, depth = project(np.array([point]))
        radius = max(1, round(radius_m * 494 / float(depth[0]) * _OVERSAMPLE))
        where = (round(float(centre[0, 0]) * _OVERSAMPLE), round(float(centre[0, 1]) * _OVERSAMPLE))
        cv2.circle(self.image, where, radius, colour, -1, cv2.LINE_AA)
        cv2.circle(self.mask, where, radius, 255, -1, cv2.LINE_AA)

    def post(self, x: float, y: float, z0: float, z1: float, radius: float, colour: Colour) -> None:
        """An upright round post: five strips from the sunny to the shady side."""
        for strip in range(5):
            left, right = radius * (-1 + strip * 0.4), radius * (-1 + (strip + 1) * 0.4)
            tone = (1.12, 1.22, 1.0, 0.8, 0.62)[strip]
            self.face(
                [(x + left, y, z0), (x + right, y, z0), (x + right, y, z1), (x + left, y, z1)], _shade(colour, tone)
            )

    def box(self, x0: float, y0: float, z0: float, x1: float, y1: float, z1: float, colour: Colour) -> None:
        """An upright box, seen from the front and above; the side that turns to the camera is drawn too."""
        if x0 > 0:
            self.face([(x0, y0, z0), (x0, y1, z0), (x0, y1, z1), (x0, y0, z1)], _shade(colour, 0.95))
        if x1 < 0:
            self.face([(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)], _shade(colour, 0.62))
        self.face([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)], _shade(colour, 0.82))
        self.face([(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)], _shade(colour, 1.12))

    def take(self, y: float) -> Occluder:
        """End the object: its mask becomes an occluder at ``y`` metres."""
        alpha = cv2.resize(self.mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        self.mask[:] = 0
        x, top, w, h = cv2.boundingRect(alpha)
        return Occluder(y, (x, top, w, h), alpha[top : top + h, x : x + w].copy())


def _shade(colour: Colour, tone: float) -> Colour:
    b, g, r = (min(255, round(v * tone)) for v in colour)
    return b, g, r


def _planter(easel: _Easel, rng: np.random.Generator, x: float, y: float, width: float, tree: bool) -> None:
    easel.box(x, y, 0.0, x + width, y + 0.9, 0.46, (142, 150, 156))
    easel.box(x + 0.08, y + 0.08, 0.40, x + width - 0.08, y + 0.82, 0.462, (46, 60, 70))
    for _ in range(int(190 * width)):
        height = 0.46 + abs(rng.normal(0, 0.17))
        px, py = rng.uniform(x + 0.05, x + width - 0.05), y + 0.1 + rng.uniform(0, 0.7)
        tone = 0.55 + 0.6 * (height - 0.4) / 0.5 + rng.uniform(-0.12, 0.12)
        base: Colour = (52, 98, 74) if rng.random() < 0.9 else (96, 88, 176)
        easel.blob((px, py, min(height, 0.95)), rng.uniform(0.025, 0.06), _shade(base, tone))
    if tree:
        middle = x + width / 2
        easel.post(middle, y + 0.45, 0.46, 2.7, 0.085, (74, 92, 106))
        for reach, top in ((-0.7, 3.0), (0.75, 3.1), (0.2, 3.2)):
            easel.face(
                [(middle - 0.05, y + 0.45, 2.1), (middle + 0.05, y + 0.45, 2.1), (middle + reach, y + 0.45, top)],
                (62, 78, 90),
            )
        for layer in range(3):
            for _ in range(420):
                angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 1.45
                z = 3.35 + np.sin(angle) * radius * 0.62
                tone = 0.55 + 0.22 * layer + 0.16 * np.sin(angle) + rng.uniform(-0.1, 0.1)
                spot = (middle + np.cos(angle) * radius * 1.15, y + 0.45, z)
                easel.blob(spot, rng.uniform(0.03, 0.085), _shade((50, 104, 82), tone))


def _bench(easel: _Easel, x: float, y: float) -> None:
    for leg in (x + 0.15, x + 1.55):
        easel.box(leg, y + 0.05, 0.0, leg + 0.08, y + 0.45, 0.42, (70, 72, 74))
    easel.box(x, y, 0.42, x + 1.8, y + 0.14, 0.46, (66, 104, 142))
    easel.box(x, y + 0.17, 0.42, x + 1.8, y + 0.31, 0.46, (72, 112, 150))
    easel.box(x, y + 0.34, 0.42, x + 1.8, y + 0.48, 0.46, (66, 104, 142))
    for z in (0.58, 0.74):
        easel.box(x, y + 0.5, z, x + 1.8, y + 0.54, z + 0.1, (62, 98, 134))


def _bollards() -> list[tuple[float, float]]:
    """Ground positions of the walkway's bollards."""
    spots = []
    for side in (LANE_HALF_WIDTH_M + 0.05, -LANE_HALF_WIDTH_M - 0.05):
        for x in np.arange(-12.6, 12.7, 1.8):
            if not LANE_GAP[0] < x < LANE_GAP[1]:
                spots.append((float(x), float(lane_y(x)) + side))
    return spots


def _chain(easel: _Easel, one: tuple[float, float], two: tuple[float, float]) -> None:
    steps = np.linspace(0, 1, 9)
    sag = 0.72 - 0.18 * (1 - (2 * steps - 1) ** 2)
    line = np.stack((one[0] + (two[0] - one[0]) * steps, one[1] + (two[1] - one[1]) * steps, sag), axis=-1)
    shape = easel.pixels(line)
    cv2.polylines(easel.image, [shape], False, (62, 66, 70), 2, cv2.LINE_AA, 3)
    cv2.polylines(easel.mask, [shape], False, 255, 2, cv2.LINE_AA, 3)


def _shadow_map(rng: np.random.Generator) -> np.ndarray:
    """How much sunlight the furniture and a building behind the camera take away: (H, W) float32, 0 lit .. 1 shade."""
    size = (HEIGHT * _OVERSAMPLE, WIDTH * _OVERSAMPLE)
    mask = np.zeros(size, np.uint8)

    def cast(points: object) -> None:
        ground = shadow_points(np.asarray(points, np.float64).reshape(-1, 3))
        image_points, _ = project(ground)
        hull = cv2.convexHull(np.round(image_points * _OVERSAMPLE).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 255, cv2.LINE_AA)

    def cast_box(x0: float, y0: float, x1: float, y1: float, z: float) -> None:
        cast([(x, y, h) for x in (x0, x1) for y in (y0, y1) for h in (0.0, z)])

    for x, y, width, tree in _PLANTERS:
        cast_box(x, y, x + width, y + 0.9, 0.6)
        if tree:
            cast_box(x + width / 2 - 0.08, y + 0.4, x + width / 2 + 0.08, y + 0.5, 3.0)
            for _ in range(90):
                angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 1.7
                cx, cy = x + width / 2 + np.cos(angle) * radius, y + 0.45 + np.sin(angle) * radius * 0.9
                r = rng.uniform(0.08, 0.2)
                cast([(cx + r * np.cos(a), cy + r * np.sin(a), 3.3) for a in np.linspace(0, 5.5, 7)])
    for x, y in _BENCHES:
        cast_box(x, y, x + 1.8, y + 0.5, 0.45)
    for x, y in _bollards():
        cast_box(x - 0.07, y - 0.07, x + 0.07, y + 0.07, 0.85)
    cast_box(_LAMP[0] - 0.07, _LAMP[1] - 0.07, _LAMP[0] + 0.07, _LAMP[1] + 0.07, 4.6)
    cast_box(_BIN[0] - 0.25, _BIN[1] - 0.25, _BIN[0] + 0.25, _BIN[1] + 0.25, 0.85)
    near = cv2.GaussianBlur(mask, (0, 0), 2.6).astype(np.float32) / 255
    building = np.zeros(size, np.uint8)
    corner, _ = project(np.array([(-14.0, 3.0, 0), (-14.0, 13.2, 0), (-6.6, 9.0, 0), (-3.6, 7.2, 0), (-1.6, 4.2, 0)]))
    cv2.fillPoly(building, [np.round(corner * _OVERSAMPLE).astype(np.int32)], 255)
    far = cv2.GaussianBlur(building, (0, 0), 9).astype(np.float32) / 255
    shade: np.ndarray = np.maximum(near, far)
    return shade


_PLANTERS = ((-10.6, 18.3, 2.2, True), (7.8, 18.6, 2.2, True), (-2.2, 19.4, 3.0, False), (-8.4, 14.5, 2.0, False))
_BENCHES = ((-5.4, 15.1), (8.6, 15.3))
_LAMP = (-1.2, 15.6)
_BIN = (-2.9, 15.3)


@functools.lru_cache(maxsize=1)
def scene() -> Scene:
    """The one scene, painted at the first call (about half a second) and shared afterwards; nobody writes to it."""
    rng = np.random.default_rng(20240611)
    size = (WIDTH * _OVERSAMPLE, HEIGHT * _OVERSAMPLE)
    x0, y0, x1, y1 = _GROUND

    def warp(texture: np.ndarray, corners: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray]:
        rows, cols = texture.shape[:2]
        source = np.array([(0, 0), (cols, 0), (cols, rows), (0, rows)], np.float32)
        target, _ = project(np.array(corners))
        matrix = cv2.getPerspectiveTransform(source, (target * _OVERSAMPLE).astype(np.float32))
        flat = np.full((rows, cols), 255, np.uint8)
        return (
            cv2.warpPerspective(texture, matrix, size, flags=cv2.INTER_LINEAR),
            cv2.warpPerspective(flat, matrix, size, flags=cv2.INTER_LINEAR),
        )

    ground, _ = warp(_paving(rng), [(x0, y1, 0), (x1, y1, 0), (x1, y0, 0), (x0, y0, 0)])
    shade = _shadow_map(rng)
    # Shade is lit by the blue sky: it is darker and a little cooler.
    ground *= 1 - shade[..., None] * np.array((0.36, 0.41, 0.45), np.float32)
    wall, on_wall = warp(_facade(rng), [(x0, y1, _FACADE_TOP_M), (x1, y1, _FACADE_TOP_M), (x1, y1, 0), (x0, y1, 0)])
    picture = np.where(on_wall[..., None] > 127, wall, ground)

    easel = _Easel(np.clip(picture, 0, 255).astype(np.uint8))
    occluders = []
    things: list[tuple[float, str, tuple[float, ...]]] = [(p[1], "planter", p) for p in _PLANTERS]
    things += [(b[1], "bench", b) for b in _BENCHES] + [(_LAMP[1], "lamp", _LAMP), (_BIN[1], "bin", _BIN)]
    things += [(y, "bollard", (x, y)) for x, y in _bollards()]
    for y, kind, place in sorted(things, key=lambda thing: -thing[0]):
        if kind == "planter":
            _planter(easel, rng, place[0], y, place[2], bool(place[3]))
        elif kind == "bench":
            _bench(easel, place[0], y)
        elif kind == "lamp":
            easel.post(place[0], y, 0.0, 0.5, 0.11, (66, 70, 72))
            easel.post(place[0], y, 0.5, 4.8, 0.055, (72, 76, 78))
        elif kind == "bin":
            easel.post(place[0], y, 0.0, 0.85, 0.24, (66, 82, 60))
            easel.post(place[0], y, 0.85, 0.93, 0.27, (84, 96, 80))
        else:
            neighbour = next(
                (spot for spot in _bollards() if abs(spot[0] - place[0] - 1.8) < 1e-6 and abs(spot[1] - y) < 0.3), None
            )
            if neighbour:
                _chain(easel, (place[0], y), neighbour)
            easel.post(place[0], y, 0.0, 0.82, 0.055, (84, 88, 92))
            easel.post(place[0], y, 0.66, 0.74, 0.058, (196, 204, 210))
        occluders.append(easel.take(y))

    small = cv2.resize(easel.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    # The lens of a street camera is not a microscope; people are drawn with the same softness.
    small = cv2.GaussianBlur(small, (3, 3), 0.6)
    sunlit = cv2.resize(255 * (1 - shade), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA).astype(np.uint8)
    small.flags.writeable = False
    sunlit.flags.writeable = False
    return Scene(small, sunlit, tuple(occluders))
