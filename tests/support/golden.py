"""Reference values of the released MATLAB and Python implementations, and their inputs.

Produced once, in double precision, on inputs that the formulas below define.
"""

import numpy as np

from dcfnet import WV3
from dcfnet.imagery.filters import degrade, exp_upsample


def gt_image() -> np.ndarray:
    c, y, x = np.meshgrid(np.arange(8), np.arange(256), np.arange(256), indexing="ij")
    waves = 300 * np.sin(0.11 * y + 0.07 * x + 0.4 * c) + 200 * np.cos(0.031 * x * y / 16 + 0.9 * c)
    return np.round(600 + waves + 20 * c)


def fused_image() -> np.ndarray:
    c, y, x = np.meshgrid(np.arange(8), np.arange(256), np.arange(256), indexing="ij")
    ripples = 25 * np.sin(0.5 * x + 0.2 * c) + 15 * np.cos(0.37 * y - 0.3 * c)
    return np.round(gt_image() + ripples + 4 * c)


def lms_image() -> np.ndarray:
    return exp_upsample(np.round(degrade(gt_image(), WV3)))


def pan_image() -> np.ndarray:
    return gt_image()[1:6].mean(axis=0)


MTF_WV3 = {
    (20, 20): [0.041570272023, 0.045114318563, 0.045731926278, 0.044504758085,
               0.04635780327, 0.045731926278, 0.042722222526, 0.040445621545],
    (20, 24): [0.005131556748, 0.004660301829, 0.004579696975, 0.004740376215,
               0.004498597953, 0.004579696975, 0.004977061423, 0.00528310119],
    (16, 16): [0.000633431051, 0.000481390628, 0.000458604101, 0.000504897382,
               0.000436531369, 0.000458604101, 0.00057979719, 0.000690065456],
}  # fmt: skip
MTF_WV3_SUM = [0.998822664627, 0.998913940422, 0.998928402913, 0.998899273866,
               0.998942666988, 0.998928402913, 0.998853989609, 0.998790364939]  # fmt: skip

DEGRADE_GT_MEAN = 669.1428026859
DEGRADE_GT = {(2, 9, 19): 450.4274426767, (0, 0, 0): 908.9511000769, (7, 63, 63): 528.5864376687}

EXP_MEAN = 669.1404718714
EXP = {(2, 39, 79): 384.4549528766, (0, 0, 0): 804.8264359446, (7, 255, 255): 714.7781162599}

REDUCE_PAN_MEAN = 656.8842499469
REDUCE_PAN = {(9, 19): 380.8481312394, (0, 0): 847.3034850928}

GT_VS_FUSED = {"sam": 1.067147541, "ergas": 0.979330297, "scc": 0.9965062319, "q2n": 0.9939747267}
Q4_FIRST_FOUR_BANDS = 0.9953399692
Q8_CROP = 0.9917993437  # rows 0 to 99, columns 0 to 89
SAM_WITH_GT_ZEROED = 1.067490354  # gt zeroed in rows 0 to 9, columns 0 to 9

FULL_RESOLUTION = {"d_lambda": 0.0099839758, "d_s": 0.0634960874, "hqnr": 0.9271538802}

GLP_GAIN = [0.2278426422, 0.7036570617, 1.1135119439, 1.2896692657,
            1.1495473704, 0.7434868336, 0.2320742399, -0.2210563146]  # fmt: skip
GLP_MEAN = 669.4004444356
GLP = {(2, 39, 79): 373.6983587748, (0, 0, 0): 848.209286006}
GLP_METRICS = {"sam": 2.667040543, "ergas": 1.5605854986, "scc": 0.979994527, "q2n": 0.9824793317}
EXP_METRICS = {"sam": 3.0448808405, "ergas": 1.7183315275, "q2n": 0.9779726208}
