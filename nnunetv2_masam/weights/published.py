"""The checkpoints known by name: where they are, what they are, their licences and what to cite.

Sizes and hashes are those that several independent public sources state; where they do not, they are left out, and the
hash is recorded at the first use (:mod:`.provenance`). MedSAM's authors publish no sha256: it is the one that users of
their file report, and its size is that of the Zenodo copy, which this address fetches.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from nnunetv2_masam.architecture import TIMM

SAM = "Kirillov et al., Segment Anything, ICCV 2023, arXiv:2304.02643"
MEDSAM = "Ma et al., Segment anything in medical images, Nature Communications 15:654, 2024"
MEDICOSAM = (
    "Archit et al., MedicoSAM: Towards foundation models for medical image segmentation, "
    "IEEE Transactions on Medical Imaging, doi:10.1109/TMI.2025.3644811"
)
SAM_HQ = "Ke et al., Segment Anything in High Quality, NeurIPS 2023, arXiv:2306.01567"
SLIMSAM = "Chen et al., SlimSAM: 0.1% Data Makes Segment Anything Slim, NeurIPS 2024, arXiv:2312.05284"
EFFICIENTSAM = (
    "Xiong et al., EfficientSAM: Leveraged Masked Image Pretraining for Efficient Segment Anything, CVPR 2024, "
    "arXiv:2312.00863"
)
DINOV3 = "Siméoni et al., DINOv3, 2025, arXiv:2508.10104"
MEDDINOV3 = (
    "Li et al., MedDINOv3: How to adapt vision foundation models for medical image segmentation?, 2025, "
    "arXiv:2509.02379"
)

_META = "https://dl.fbaipublicfiles.com/segment_anything/"
_HUGGING_FACE = "https://huggingface.co/"
_EFFICIENTSAM = (
    "https://raw.githubusercontent.com/yformer/EfficientSAM/d525f622e6f640acf5a0fc37c7ca1f243da5bde0/weights/"
)


@dataclass(frozen=True, kw_only=True)
class PublishedCheckpoint:
    """A checkpoint that can be downloaded: one known by name, or whatever is at a URL.

    Attributes:
        name: what users type, such as ``vit_b``; of a URL, the URL without its query.
        url: where it is downloaded from.
        file_name: the name under which it lies in the cache.
        vit: preset name of its image encoder, or ``timm:`` and the name of a ViT of timm; None if not known.
        licence: SPDX identifier or name of the weights' licence; None if not known.
        source: who made it.
        citations: what to cite.
        bytes: size of the file; None if no public source states it.
        sha256, md5: hashes of the file in hex; None if no public sources agree on one.
        member: name of the file in the zip archive at ``url``; None if the file itself is there.
        rounded: size as its sources round it, where ``bytes`` is None.
    """

    name: str
    url: str
    file_name: str
    vit: str | None = None
    licence: str | None = None
    source: str = ""
    citations: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    member: str | None = None
    rounded: str = ""

    @property
    def size_text(self) -> str:
        """The size in words."""
        if self.bytes is not None:
            return f"{self.bytes} bytes"
        return f"about {self.rounded}" if self.rounded else "size not published"

    @property
    def sha256_text(self) -> str:
        """The hash, or how the file is checked without one."""
        return self.sha256 or "none published; recorded at the first use"


_ENTRIES = (
    PublishedCheckpoint(
        name="vit_b",
        vit="vit_b",
        file_name="sam_vit_b_01ec64.pth",
        bytes=375042383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        licence="Apache-2.0",
        url=_META + "sam_vit_b_01ec64.pth",
        source="Segment Anything, Meta AI",
        citations=(SAM,),
    ),
    PublishedCheckpoint(
        name="vit_l",
        vit="vit_l",
        file_name="sam_vit_l_0b3195.pth",
        bytes=1249524607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        licence="Apache-2.0",
        url=_META + "sam_vit_l_0b3195.pth",
        source="Segment Anything, Meta AI",
        citations=(SAM,),
    ),
    PublishedCheckpoint(
        name="vit_h",
        vit="vit_h",
        file_name="sam_vit_h_4b8939.pth",
        bytes=2564550879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        licence="Apache-2.0",
        url=_META + "sam_vit_h_4b8939.pth",
        source="Segment Anything, Meta AI",
        citations=(SAM,),
    ),
    PublishedCheckpoint(
        name="medsam_vit_b",
        vit="vit_b",
        file_name="medsam_vit_b.pth",
        bytes=375049145,
        sha256="34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74",
        licence="CC-BY-4.0",  # of the Zenodo record; MedSAM's code is Apache-2.0
        url="https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
        source="MedSAM (github.com/bowang-lab/MedSAM)",
        citations=(MEDSAM, SAM),
    ),
    PublishedCheckpoint(
        name="medicosam_vit_b",
        vit="vit_b",
        file_name="vit_b_medicosam.pt",
        licence="MIT",  # of the repository that names the address
        url="https://owncloud.gwdg.de/index.php/s/f5Ol4FrjPQWfjUF/download",
        source="MedicoSAM (github.com/computational-cell-analytics/medico-sam)",
        citations=(MEDICOSAM, SAM),
    ),
    PublishedCheckpoint(
        name="sam_hq_vit_b",
        vit="vit_b",
        file_name="sam_hq_vit_b.pth",
        rounded="379 MB",
        md5="c6b8953247bcfdc8bb8ef91e36a6cacc",
        licence="Apache-2.0",
        url=_HUGGING_FACE + "lkeab/hq-sam/resolve/main/sam_hq_vit_b.pth",
        source="HQ-SAM (github.com/SysCV/sam-hq)",
        citations=(SAM_HQ, SAM),
    ),
    PublishedCheckpoint(
        name="sam_hq_vit_l",
        vit="vit_l",
        file_name="sam_hq_vit_l.pth",
        rounded="1.25 GB",
        md5="08947267966e4264fb39523eccc33f86",
        licence="Apache-2.0",
        url=_HUGGING_FACE + "lkeab/hq-sam/resolve/main/sam_hq_vit_l.pth",
        source="HQ-SAM (github.com/SysCV/sam-hq)",
        citations=(SAM_HQ, SAM),
    ),
    PublishedCheckpoint(
        name="sam_hq_vit_h",
        vit="vit_h",
        file_name="sam_hq_vit_h.pth",
        bytes=2570940653,
        sha256="a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
        licence="Apache-2.0",
        url=_HUGGING_FACE + "lkeab/hq-sam/resolve/main/sam_hq_vit_h.pth",
        source="HQ-SAM (github.com/SysCV/sam-hq)",
        citations=(SAM_HQ, SAM),
    ),
    PublishedCheckpoint(
        name="slimsam_50",
        vit="vit_slim50",
        file_name="SlimSAM-uniform-50.safetensors",
        rounded="112 MB",
        licence="Apache-2.0",
        url=_HUGGING_FACE + "Zigeng/SlimSAM-uniform-50/resolve/main/model.safetensors",
        source="SlimSAM (github.com/czg1225/SlimSAM)",
        citations=(SLIMSAM, SAM),
    ),
    PublishedCheckpoint(
        name="slimsam_77",
        vit="vit_slim77",
        file_name="SlimSAM-uniform-77.safetensors",
        rounded="38.9 MB",
        licence="Apache-2.0",
        url=_HUGGING_FACE + "Zigeng/SlimSAM-uniform-77/resolve/main/model.safetensors",
        source="SlimSAM (github.com/czg1225/SlimSAM)",
        citations=(SLIMSAM, SAM),
    ),
    PublishedCheckpoint(
        name="efficientsam_ti",
        vit="vit_efficient_ti",
        file_name="efficient_sam_vitt.pt",
        bytes=40982470,
        sha256="dff858b19600a46461cbb7de98f796b23a7a888d9f5e34c0b033f7d6eb9e4e6a",
        licence="Apache-2.0",
        url=_EFFICIENTSAM + "efficient_sam_vitt.pt",
        source="EfficientSAM (github.com/yformer/EfficientSAM)",
        citations=(EFFICIENTSAM, SAM),
    ),
    PublishedCheckpoint(
        name="efficientsam_s",
        vit="vit_efficient_s",
        file_name="efficient_sam_vits.pt",
        rounded="106 MB",
        licence="Apache-2.0",
        url=_EFFICIENTSAM + "efficient_sam_vits.pt.zip",
        member="efficient_sam_vits.pt",
        source="EfficientSAM (github.com/yformer/EfficientSAM)",
        citations=(EFFICIENTSAM, SAM),
    ),
    PublishedCheckpoint(
        name="dinov3_vit_b",
        vit=TIMM + "vit_base_patch16_dinov3",
        file_name="vit_base_patch16_dinov3.lvd1689m.safetensors",
        bytes=342579728,
        sha256="1f9ed8a2378d65e24bb710ba522ac9fa7be4e036d7aefb4384ce022833926332",
        licence="DINOv3 License (ai.meta.com/resources/models-and-libraries/dinov3-license)",
        url=_HUGGING_FACE
        + "timm/vit_base_patch16_dinov3.lvd1689m/resolve/c6a5fb7d12bbd3cf3b0079253141c3332aaed7da/model.safetensors",
        source="DINOv3, Meta AI, as published by timm",
        citations=(DINOV3,),
    ),
    PublishedCheckpoint(
        name="meddinov3_vit_b",
        vit=TIMM + "vit_base_patch16_dinov3",
        file_name="MedDINOv3-ViTB-16-CT-3M.pth",
        licence="Apache-2.0",  # its authors'; it was trained from DINOv3, whose licence has terms for such models
        url=_HUGGING_FACE + "ricklisz123/MedDINOv3-ViTB-16-CT-3M/resolve/main/model.pth",
        source="MedDINOv3 (github.com/ricklisz/MedDINOv3)",
        citations=(MEDDINOV3, DINOV3),
    ),
)
CHECKPOINTS: dict[str, PublishedCheckpoint] = {known.name: known for known in _ENTRIES}

# The one that a trainer takes (and downloads) for a ViT when the user names no file.
DEFAULT_FOR_VIT: dict[str, str] = {
    "vit_b": "vit_b",
    "vit_l": "vit_l",
    "vit_h": "vit_h",
    "vit_slim50": "slimsam_50",
    "vit_slim77": "slimsam_77",
    "vit_efficient_ti": "efficientsam_ti",
    "vit_efficient_s": "efficientsam_s",
}


def known_by_sha256(sha256: str) -> PublishedCheckpoint | None:
    """The known checkpoint with this hash (hex), if any."""
    return next((known for known in CHECKPOINTS.values() if known.sha256 == sha256.lower()), None)


def known_by_file_name(file_name: str) -> PublishedCheckpoint | None:
    """The known checkpoint whose file has this name in the cache, if any."""
    return next((known for known in CHECKPOINTS.values() if known.file_name == file_name), None)


def at_url(text: str) -> PublishedCheckpoint:
    """What is at a URL.

    Args:
        text: an http or https address, with ``#sha256=`` and the file's hash behind it if it is known.

    Raises:
        ValueError: the address cannot be downloaded from, holds a password, or its hash is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text}: expected an address that starts with https:// or http://, got {parts.scheme}://")
    if parts.username or parts.password:
        public = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        raise ValueError(
            f"{public}: got this address with a user name or password, expected one without. Leave them out, or get "
            "the file by other means and set MASAM_CHECKPOINT to its path"
        )
    sha256 = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", parts.fragment)
    if parts.fragment and sha256 is None:
        raise ValueError(
            f"{text}: got #{parts.fragment}, expected #sha256= and 64 hexadecimal digits. Correct or leave it out"
        )
    url = parts._replace(fragment="").geturl()
    base = re.sub(r"[^\w.-]", "_", unquote(parts.path.rsplit("/", 1)[-1]), flags=re.ASCII)[-100:]
    return PublishedCheckpoint(
        name=parts._replace(query="", fragment="").geturl(),  # queries can hold access tokens
        url=url,
        file_name=f"url-{hashlib.sha256(url.encode()).hexdigest()[:12]}-{base or 'weights'}",
        sha256=None if sha256 is None else sha256[1].lower(),
    )
