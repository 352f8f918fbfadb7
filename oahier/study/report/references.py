"""Works that a methods paragraph cites."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A work with a permanent address."""

    text: str
    link: str


def _doi(text: str, doi: str) -> Reference:
    return Reference(f"{text} doi:{doi}", f"https://doi.org/{doi}")


def _arxiv(text: str, number: str) -> Reference:
    return Reference(f"{text} arXiv:{number}", f"https://arxiv.org/abs/{number}")


REFERENCES: Mapping[str, Reference] = {
    "study": _arxiv(
        "Zhang T. Learning coarse-to-fine osteoarthritis representations under noisy hierarchical labels. "
        "2026.",
        "2605.00718",
    ),
    "kl": _doi(
        "Kellgren JH, Lawrence JS. Radiological assessment of osteo-arthrosis. "
        "Ann Rheum Dis 1957;16:494–502.",
        "10.1136/ard.16.4.494",
    ),
    "torchio": _doi(
        "Pérez-García F, Sparks R, Ourselin S. TorchIO. Comput Methods Programs Biomed 2021;208:106236.",
        "10.1016/j.cmpb.2021.106236",
    ),
    "resnet3d": _arxiv(
        "Chen S, Ma K, Zheng Y. Med3D: transfer learning for 3D medical image analysis. 2019.", "1904.00625"
    ),
    "m3t": Reference(
        "Jang J, Hwang D. M3T: three-dimensional medical image classifier using multi-plane and multi-slice "
        "transformer. CVPR 2022. openaccess.thecvf.com",
        "https://openaccess.thecvf.com/content/CVPR2022/papers/"
        "Jang_M3T_Three-Dimensional_Medical_Image_Classifier_Using_Multi-Plane_and_Multi-Slice_Transformer_"
        "CVPR_2022_paper.pdf",
    ),
    "nnmamba": _arxiv("Gong H, et al. nnMamba: 3D biomedical image segmentation, classification and landmark "
                      "detection with state space model. 2024.", "2402.03526"),
    "adamw": _arxiv(
        "Loshchilov I, Hutter F. Decoupled weight decay regularization. ICLR 2019.", "1711.05101"
    ),
    "adam": _arxiv("Kingma DP, Ba J. Adam: a method for stochastic optimization. ICLR 2015.", "1412.6980"),
    "bootstrap": _doi(
        "Efron B. Bootstrap methods: another look at the jackknife. Ann Stat 1979;7:1–26.",
        "10.1214/aos/1176344552",
    ),
    "jackknife": _doi(
        "Efron B, Stein C. The jackknife estimate of variance. Ann Stat 1981;9:586–596.",
        "10.1214/aos/1176345462",
    ),
    "obuchowski": _doi(
        "Obuchowski NA, Rockette HE. Hypothesis testing of diagnostic accuracy for multiple readers and "
        "multiple tests: an ANOVA approach with dependent observations. "
        "Commun Stat Simul Comput 1995;24:285–308.",
        "10.1080/03610919508813243",
    ),
    "hillis": _doi(
        "Hillis SL. A comparison of denominator degrees of freedom methods for multiple observer ROC "
        "analysis. Stat Med 2007;26:596–619.",
        "10.1002/sim.2532",
    ),
    "mcnemar": _doi(
        "McNemar Q. Note on the sampling error of the difference between correlated proportions or "
        "percentages. Psychometrika 1947;12:153–157.",
        "10.1007/BF02295996",
    ),
    "delong": _doi(
        "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver "
        "operating characteristic curves. Biometrics 1988;44:837–845.",
        "10.2307/2531595",
    ),
    "clustered": _doi(
        "Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567–578.",
        "10.2307/2533958",
    ),
    "sun": _doi(
        "Sun X, Xu W. Fast implementation of DeLong's algorithm. IEEE Signal Process Lett 2014;21:1389–1393.",
        "10.1109/LSP.2014.2337313",
    ),
    "benjamini": _doi(
        "Benjamini Y, Hochberg Y. Controlling the false discovery rate. J R Stat Soc B 1995;57:289–300.",
        "10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "holm": Reference(
        "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65–70. "
        "jstor.org/stable/4615733",
        "https://www.jstor.org/stable/4615733",
    ),
    "jonckheere": _doi(
        "Jonckheere AR. A distribution-free k-sample test against ordered alternatives. Biometrika "
        "1954;41:133–145.",
        "10.1093/biomet/41.1-2.133",
    ),
    "gradcam": _arxiv(
        "Selvaraju RR, et al. Grad-CAM: visual explanations from deep networks via gradient-based "
        "localization. 2016.",
        "1610.02391",
    ),
    "smoothgrad": _arxiv(
        "Smilkov D, et al. SmoothGrad: removing noise by adding noise. 2017.", "1706.03825"
    ),
    "sanity": _arxiv("Adebayo J, et al. Sanity checks for saliency maps. NeurIPS 2018.", "1810.03292"),
}  # fmt: skip

_CITED = re.compile(r"((?: ?\[@[a-z0-9]+\])+)")
_NAME = re.compile(r"\[@([a-z0-9]+)\]")


def numbered(paragraphs: list[str]) -> tuple[list[str], list[Reference]]:
    """Replace ``[@name]`` by numbers in the order of citation.

    Returns:
        The paragraphs, and the works in order.

    >>> numbered(["A [@kl] and B [@kl] [@adam], again [@kl]."])[0]
    ['A [1] and B [1, 2], again [1].']
    """
    order = list(dict.fromkeys(name for paragraph in paragraphs for name in _NAME.findall(paragraph)))

    def numbers(found: re.Match[str]) -> str:
        places = sorted(order.index(name) + 1 for name in _NAME.findall(found[0]))
        return f" [{', '.join(map(str, places))}]"

    texts = [_CITED.sub(numbers, paragraph) for paragraph in paragraphs]
    return texts, [REFERENCES[name] for name in order]
