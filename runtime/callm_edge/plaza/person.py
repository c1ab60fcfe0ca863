"""An articulated person: posed per frame from a gait, and the strokes that show it.

Bodies are posed in batches: rows are people of one frame, or frames of one person.
"""

from __future__ import annotations

import numpy as np

from callm_edge.plaza.camera import pixels_per_metre, project
from callm_edge.plaza.looks import AT, SPHERES, Looks
from callm_edge.plaza.sprite import Sprite

# Columns of a pose row; see tracks.py for who fills them.
CHANNELS = (
    "x",  # metres
    "y",
    "heading",  # radians, 0 looks to +x, pi/2 away from the camera
    "phase",  # gait cycles; left heel strikes at whole numbers
    "stride",  # metres of ground per cycle; 0 stands
    "run",  # 0 walks, 1 runs
    "fall",  # 0 upright, 1 lies on the front, -1 on the back
    "throw",  # 0 none; 0..1 wind-up, 1..2 stroke and follow-through
    "gesture",  # 0 none, 1 talks with the hands
    "crouch",  # metres by which the pelvis sinks
)
X, Y, HEADING, PHASE, STRIDE, RUN, FALL, THROW, GESTURE, CROUCH = range(len(CHANNELS))

_CIRCLE = np.stack((np.cos(np.arange(10) * 0.6283185), np.sin(np.arange(10) * 0.6283185)), axis=-1).astype(np.float32)


def stride_m(speed: np.ndarray | float, height_m: float) -> np.ndarray:
    """Ground covered in one gait cycle (two steps), metres, at ``speed`` m/s: people lengthen it as they hurry."""
    return np.asarray((0.56 + 0.50 * np.asarray(speed)) * height_m / 1.74)


def _ease(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def _foot(phase: np.ndarray, stride: np.ndarray, run: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ankle's forward offset from the hip, its lift, and the foot's pitch (radians, positive toes down) at ``phase``.

    While it stands, the foot goes back exactly as fast as the body goes forward, so soles do not skate.
    """
    phase = phase % 1.0
    stance = 0.62 - 0.26 * run
    length = stride * stance
    u = np.clip(phase / stance, 0, 1)
    swing = np.clip((phase - stance) / (1 - stance), 0, 1)
    amount = np.clip(stride / 1.0, 0, 1.2)
    standing = phase < stance
    forward = np.where(standing, length * (0.5 - u), length * (_ease(swing) - 0.5))
    heel_off = _ease((u - 0.62) / 0.38) * 0.085 * amount
    lift_peak = (0.10 + 0.30 * run) * amount
    swing_lift = np.sin(np.pi * np.minimum(swing * 1.08, 1.0)) ** 1.2 * lift_peak + 0.085 * amount * (
        1 - _ease(swing * 1.6)
    )
    lift = np.where(standing, heel_off, swing_lift)
    down = np.where(
        standing,
        _ease((u - 0.6) / 0.4) * 0.75 - 0.32 * (1 - _ease(u / 0.14)),
        0.9 * (1 - _ease(swing / 0.6)) - 0.32 * _ease((swing - 0.6) / 0.4),
    )
    return forward, lift, down * np.clip(stride / 0.9, 0, 1)


def _bend(
    start: np.ndarray, end: np.ndarray, upper: np.ndarray, lower: np.ndarray, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two-bone inverse kinematics. Returns the middle joint and the end, pulled in where it is out of reach.

    start, end, pole: (N, 3); upper, lower: (N,) metres. The joint bends towards ``pole``.
    """
    reach = end - start
    distance = np.maximum(np.linalg.norm(reach, axis=-1), 1e-6)
    limit = np.minimum(distance, (upper + lower) * 0.999)
    direction = reach / distance[:, None]
    end = start + direction * limit[:, None]
    along = (limit**2 + upper**2 - lower**2) / (2 * limit)
    out = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    side = pole - direction * np.sum(pole * direction, axis=-1, keepdims=True)
    side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
    return start + direction * along[:, None] + side * out[:, None], end


def _vec(forward: np.ndarray | float, right: np.ndarray | float, up: np.ndarray | float, n: int) -> np.ndarray:
    out = np.empty((n, 3))
    out[:, 0], out[:, 1], out[:, 2] = forward, right, up
    return out


def pose(rows: np.ndarray, looks: list[Looks], grips: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """World positions of the body's spheres.

    rows: (N, len(CHANNELS)). looks: N of them. grips: for riders, (N, 3) points in the body's own frame (forward,
    right, up; metres from the ground under the body) that fix "foot_l", "foot_r", "hand_l", "hand_r" and "pelvis".
    Returns (N, S, 3) metres.
    """
    n = len(rows)
    height = np.array([look.height_m for look in looks])
    girth = np.array([look.girth for look in looks])
    carry = np.array([look.carry for look in looks])
    sway = np.array([look.sway for look in looks])
    hips = np.array([look.hips for look in looks]) * height * (0.6 + 0.4 * girth)
    shoulders = np.array([look.shoulders for look in looks]) * height * (0.7 + 0.3 * girth)
    phase, stride, run = rows[:, PHASE], rows[:, STRIDE], rows[:, RUN]
    fall, throw, gesture = rows[:, FALL], rows[:, THROW], rows[:, GESTURE]
    down = np.abs(fall)
    walk = np.clip(stride / 0.9, 0, 1)
    cycle = 2 * np.pi * phase
    body: dict[str, np.ndarray] = {}

    ankle = 0.047 * height
    thigh = shin = 0.243 * height
    bob = 0.021 * np.cos(2 * cycle + 0.5) * walk * (1 + 1.4 * run)
    tumble = np.sin(np.pi * np.clip(down, 0, 1)) * 0.22
    pelvis_up = 0.530 * height - 0.012 * walk - 0.05 * run - bob - rows[:, CROUCH] - tumble
    pelvis_side = 0.018 * np.sin(cycle) * walk * sway - 0.02 * (1 - walk) * sway
    pelvis_forward = 0.015 * walk + 0.04 * run
    lean = 0.025 * walk + 0.22 * run + np.where(carry == 1, 0.02, 0) + 0.5 * tumble * np.sign(fall + 1e-9)
    lean = lean - 0.12 * _ease(throw) + 0.45 * _ease(throw - 1.0) * (throw > 1)
    if grips:
        pelvis_forward, pelvis_up = grips["pelvis"][:, 0], grips["pelvis"][:, 2]
        pelvis_side = np.zeros(n)
        lean = np.full(n, 0.52)
    pelvis_turn = 0.10 * np.sin(cycle + 1.2) * walk
    chest_turn = -0.16 * np.sin(cycle + 1.2) * walk + 0.6 * np.sin(np.clip(throw, 0, 2) * np.pi / 2) * (throw < 1.5)

    for side, name, offset in ((-1.0, "l", 0.0), (1.0, "r", 0.5)):
        hip = _vec(pelvis_forward + side * pelvis_turn * -0.1, pelvis_side + side * hips, pelvis_up, n)
        forward, lift, pitch = _foot(phase + offset, stride, run)
        spread = 0.9 - 0.35 * walk
        foot = _vec(forward, side * (hips * spread + 0.02), ankle + lift, n)
        # On the ground legs lie apart, one drawn up.
        foot[:, 1] += side * 0.10 * down
        foot[:, 2] += (0.26 if side > 0 else 0.04) * _ease((down - 0.6) / 0.4)
        if grips:
            foot, pitch = grips[f"foot_{name}"], np.full(n, 0.15)
        knee_pole = _vec(
            np.where(fall > 0, 1 - 0.9 * down, 1.0), side * (0.12 + 0.9 * np.where(fall > 0, down, 0.25 * down)), 0.0, n
        )
        knee, foot = _bend(hip, foot, thigh, shin, knee_pole)
        body[f"hip_{name}"], body[f"knee_{name}"], body[f"ankle_{name}"] = hip, knee, foot
        cos, sin = np.cos(pitch), np.sin(pitch)
        size = height / 1.74
        for part, along, drop in (("heel", -0.045, -0.036), ("toe", 0.165, -0.045)):
            offset_vec = _vec(
                (along * cos + drop * sin) * size, side * 0.012 * (part == "toe"), (drop * cos - along * sin) * size, n
            )
            body[f"{part}_{name}"] = foot + offset_vec

    up = np.sqrt(1 - np.minimum(np.sin(lean) ** 2, 0.95))
    spine_f, spine_u = np.sin(lean), up

    def trunk(
        fraction: float, right: np.ndarray | float = 0.0, front: np.ndarray | float = 0.0, turn: float = 1.0
    ) -> np.ndarray:
        """A point ``fraction`` of the body height above the pelvis, sideways and to the front of the spine."""
        twist = chest_turn * turn + pelvis_turn * (1 - turn)
        rise = fraction * height
        ahead = np.asarray(front) * np.cos(twist) + np.asarray(right) * np.sin(twist)
        aside = np.asarray(right) * np.cos(twist) - np.asarray(front) * np.sin(twist)
        sideways = pelvis_side * (1 - fraction * 1.5) + aside
        return _vec(
            pelvis_forward + rise * spine_f + ahead * spine_u, sideways, pelvis_up + rise * spine_u - ahead * spine_f, n
        )

    shrug = 0.274
    nod = np.where(carry == 1, 0.04, 0.015) + 0.02 * run
    for side, name in ((-1.0, "l"), (1.0, "r")):
        body[f"side_{name}"] = trunk(0.025, side * hips * 0.95, turn=0.0)
        body[f"waist_{name}"] = trunk(0.10, side * hips * 0.92, turn=0.4)
        body[f"chest_{name}"] = trunk(0.20, side * shoulders * 0.66)
        body[f"shoulder_{name}"] = trunk(shrug, side * shoulders)
        body[f"eye_{name}"] = trunk(0.412, side * 0.032, nod + 0.088)
    body["neck"] = trunk(0.318)
    body["chin"] = trunk(0.355, front=nod + 0.028)
    body["skull"] = trunk(0.408, front=nod)
    body["face"] = trunk(0.392, front=nod + 0.022)
    body["crown"] = trunk(0.428, front=nod - 0.016)
    body["collar"] = trunk(0.303, front=-0.012)
    body["nape"] = trunk(0.385, front=nod - 0.04)
    body["tail"] = trunk(0.315, front=nod - 0.075)
    body["fringe"] = trunk(0.42, front=nod + 0.07)

    upper, fore = 0.168 * height, 0.150 * height
    for side, name, offset in ((-1.0, "l", 0.5), (1.0, "r", 0.0)):
        shoulder = body[f"shoulder_{name}"]
        swing = np.cos(2 * np.pi * (phase + offset) + 0.25) * walk * (0.38 + 0.35 * run) * sway + 0.06
        swing = -swing + 0.10
        elbow_flex = 0.22 + 0.25 * walk * np.clip(swing, 0, 1) + 1.25 * run
        hand_at = shoulder + _vec(
            upper * np.sin(swing) + fore * np.sin(swing + elbow_flex),
            side * (0.035 + 0.02 * girth),
            -upper * np.cos(swing) - fore * np.cos(swing + elbow_flex),
            n,
        )
        pole = _vec(-1.0, side * 0.25, -0.2, n)
        if side > 0:
            phone = shoulder + _vec(0.21, -0.11, -0.20, n)
            hand_at = np.where(((carry == 1) & (run < 0.2) & (throw <= 0))[:, None], phone, hand_at)
        pocket = body[f"hip_{name}"] + _vec(0.10, side * 0.07, 0.03, n)
        hand_at = np.where(((carry == 2) & (run < 0.2) & (throw <= 0))[:, None], pocket, hand_at)
        talk = shoulder + _vec(
            0.27 + 0.07 * np.sin(phase * 9.1 + side),
            side * (0.05 + 0.08 * np.sin(phase * 6.3)),
            -0.20 + 0.11 * np.sin(phase * 7.7 + 2 * side),
            n,
        )
        hand_at += (talk - hand_at) * (gesture * (0.9 if side > 0 else 0.55))[:, None]
        # Somebody who falls puts the hands out, and keeps them beside the head on the ground.
        brace = shoulder + _vec(0.30 * np.sign(fall + 1e-9), side * 0.22, 0.10, n)
        hand_at += (brace - hand_at) * _ease(down * 2.5)[:, None]
        if side > 0:
            wind, stroke = _ease(throw), _ease(throw - 1.0)
            back = shoulder + _vec(-0.42, 0.22, 0.34, n)
            ahead = shoulder + _vec(0.50, -0.05, -0.02, n)
            over = _vec(0.0, 0.0, 0.46 * np.sin(np.pi * stroke), n)
            target = back + (ahead - back) * stroke[:, None] + over
            hand_at += (target - hand_at) * (wind * (1 - _ease((throw - 1.7) / 0.3)))[:, None]
            pole = np.where((throw > 0.2)[:, None], _vec(-0.3, 1.0, -0.3, n), pole)
        if grips:
            hand_at, pole = grips[f"hand_{name}"], _vec(-0.2, side * 1.0, -0.6, n)
        elbow, wrist = _bend(shoulder, hand_at, upper, fore, pole)
        body[f"elbow_{name}"], body[f"wrist_{name}"] = elbow, wrist
        body[f"hand_{name}"] = wrist + (wrist - elbow) * (0.085 * height / np.maximum(fore, 0.1))[:, None]

    hem = np.array([look.has_hem for look in looks])
    flare = np.array([look.flare for look in looks])
    for name, front, side in (("fl", 1, -1), ("fr", 1, 1), ("bl", -1, -1), ("br", -1, 1)):
        # Cloth follows the knee that pushes it.
        knees = (
            np.maximum(body["knee_l"][:, 0], body["knee_r"][:, 0])
            if front > 0
            else np.minimum(body["knee_l"][:, 0], body["knee_r"][:, 0])
        )
        ahead = pelvis_forward + front * (0.05 + flare) + 0.7 * (knees - pelvis_forward) * np.minimum(hem / 0.4, 1)
        body[f"hem_{name}"] = _vec(
            ahead, pelvis_side + side * (hips + flare * 0.7), pelvis_up - hem * height / 1.74 - 0.02, n
        )
    for name, rise, side in (("a", 0.265, -1), ("b", 0.265, 1), ("c", 0.10, -1), ("d", 0.10, 1)):
        body[f"pack_{name}"] = trunk(rise, side * 0.075, -0.155)
    body["bag_a"] = trunk(0.02, -hips - 0.13, 0.02 * np.sin(cycle), turn=0.2)
    body["bag_b"] = trunk(-0.08, -hips - 0.14, 0.05 * np.sin(cycle), turn=0.2)

    points = np.stack([body[name] for name in SPHERES], axis=1)
    # A fall turns the whole body about the feet.
    turn = fall * (np.pi / 2 * 0.97)
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    pivot = 0.11 * down[:, None]
    f, u = points[..., 0], points[..., 2]
    points = np.stack((f * cos + u * sin, points[..., 1], u * cos - f * sin + pivot), axis=-1)
    points[..., 2] = np.maximum(points[..., 2], 0.03)
    cos, sin = np.cos(rows[:, HEADING])[:, None], np.sin(rows[:, HEADING])[:, None]
    world = np.empty_like(points)
    world[..., 0] = rows[:, X, None] + points[..., 0] * cos + points[..., 1] * sin
    world[..., 1] = rows[:, Y, None] + points[..., 0] * sin - points[..., 1] * cos
    world[..., 2] = points[..., 2]
    return world


def sphere(name: str) -> int:
    """Index of one named sphere in posed bodies."""
    return AT[name]


def joint(points: np.ndarray, name: str) -> np.ndarray:
    """One named sphere of posed bodies: (N, S, 3) in, (N, 3) out."""
    return points[:, AT[name]]


def bounds(points: np.ndarray, looks: list[Looks]) -> np.ndarray:
    """Picture rectangles of posed bodies: (N, S, 3) in, (N, 4) x0, y0, x1, y1 float pixels out."""
    centres, depth = project(points)
    radius = np.stack([look.radii for look in looks]) * pixels_per_metre(depth)
    used = np.zeros(radius.shape, bool)
    for row, look in enumerate(looks):
        used[row, np.concatenate([hull for part in look.parts for hull in part.hulls])] = True
    low = np.where(used[..., None], centres - radius[..., None], np.inf).min(axis=1)
    high = np.where(used[..., None], centres + radius[..., None], -np.inf).max(axis=1)
    return np.concatenate((low, high), axis=1)


def sprites(points: np.ndarray, looks: list[Looks], feet: np.ndarray) -> list[Sprite]:
    """Strokes of posed bodies.

    points: (N, S, 3) metres. feet: (N, 2) ground positions, for order. Every part is laid down dark, then once more
    smaller and moved to the sun: two tones are what makes a limb round at this size.
    """
    centres, depth = project(points)
    radius = (np.stack([look.radii for look in looks]) * pixels_per_metre(depth)).astype(np.float32)
    centres = centres.astype(np.float32)
    dark = centres[:, :, None, :] + radius[:, :, None, None] * _CIRCLE
    lit_at = centres + radius[..., None] * np.array((-0.22, -0.20), np.float32)
    lit = lit_at[:, :, None, :] + (0.70 * radius)[:, :, None, None] * _CIRCLE
    frames = bounds(points, looks)
    out = []
    for row, look in enumerate(looks):
        x0, y0, x1, y1 = (float(v) for v in frames[row])
        sprite = Sprite(float(feet[row, 1]), (x0, y0, x1, y1))
        far = look.sorting @ depth[row] - np.array([part.pull for part in look.parts])
        own_dark, own_lit = dark[row], lit[row]
        small = y1 - y0 < 50
        strokes = sprite.strokes
        for index in np.argsort(-far, kind="stable").tolist():
            part = look.parts[index]
            if small and part.fine:
                continue
            strokes += [("hull", own_dark[hull].reshape(-1, 2), part.dark, 0.0) for hull in part.hulls]
            strokes += [("hull", own_lit[hull].reshape(-1, 2), part.lit, 0.0) for hull in part.hulls]
        out.append(sprite)
    return out
