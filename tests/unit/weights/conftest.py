"""A synthetic SAM (2 blocks, embedding dimension 32, 64-pixel images) and a local server of checkpoints."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from nnunetv2_masam.network import sam_parts
from nnunetv2_masam.weights.published import CHECKPOINTS, PublishedCheckpoint

# segment_anything without its torchvision; sam_parts says why
_sam = sys.modules[f"{sam_parts.__name__}.modeling"]


@pytest.fixture
def tiny_sam() -> nn.Module:
    """Of segment_anything's own classes; block 0 is windowed, block 1 global, 2 heads."""
    return build_tiny_sam()


def build_tiny_sam() -> nn.Module:
    return _sam.Sam(
        image_encoder=_sam.ImageEncoderViT(
            depth=2,
            embed_dim=32,
            img_size=64,
            mlp_ratio=4,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=2,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=14,
            out_chans=32,
        ),
        prompt_encoder=_sam.PromptEncoder(
            embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=16
        ),
        mask_decoder=_sam.MaskDecoder(
            num_multimask_outputs=3,
            transformer=_sam.TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=32,
        ),
    )


@pytest.fixture(scope="session")
def sam_state_dict() -> dict[str, Tensor]:
    """Distinct values everywhere: SAM's own start at zero would hide a tensor under the wrong name."""
    torch.manual_seed(0)
    return {name: torch.randn_like(tensor) for name, tensor in build_tiny_sam().state_dict().items()}


@pytest.fixture
def sam_file(tmp_path: Path, sam_state_dict: dict[str, Tensor]) -> Path:
    path = tmp_path / "sam.pth"
    torch.save(sam_state_dict, path)
    return path


class Server(ThreadingHTTPServer):
    """Serves ``content``, answering request number i with the handler's method ``behaviours[i]``, then the last."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = bytes(range(256)) * 4096  # 1 MiB
        self.behaviours = ["whole"]
        self.requests = 0
        self.sent = 0  # bytes, by `endless`

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        behaviours = self.server.behaviours
        behaviour = behaviours[min(self.server.requests, len(behaviours) - 1)]
        self.server.requests += 1
        getattr(self, behaviour)(self.server.content)

    def start(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""

    def whole(self, content: bytes) -> None:
        self.start(len(content))
        self.wfile.write(content)

    def breaks_midway(self, content: bytes) -> None:
        self.start(len(content))
        self.wfile.write(content[: len(content) // 2])

    def shorter(self, content: bytes) -> None:
        self.whole(content[:10])

    def web_page(self, content: bytes) -> None:
        self.whole(b"<!DOCTYPE html><html>Please log in</html>")

    def other_content(self, content: bytes) -> None:
        self.whole(content[::-1])

    def slowly(self, content: bytes) -> None:
        self.start(len(content))
        step = len(content) // 8
        for start in range(0, len(content), step):
            self.wfile.write(content[start : start + step])
            time.sleep(0.15)  # together longer than the time-out of the test

    def stalls(self, content: bytes) -> None:
        self.start(len(content))
        self.wfile.write(content[:100])
        time.sleep(4)

    def endless(self, content: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        while True:  # until the client hangs up
            self.wfile.write(content)
            self.server.sent += len(content)

    def trickles(self, content: bytes) -> None:
        self.start(len(content))
        self.drip(content)

    def trickles_headers(self, content: bytes) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
        self.drip(b"x" * 1000)

    def drip(self, content: bytes) -> None:
        for byte in content[:100]:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def redirects_to_a_file(self, content: bytes) -> None:
        self.send_response(302)
        self.send_header("Location", "file:///etc/hostname")
        self.end_headers()

    def has_nothing(self, content: bytes) -> None:
        self.send_error(404)

    def overloaded(self, content: bytes) -> None:
        self.send_error(503)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def known(server: Server, monkeypatch: pytest.MonkeyPatch) -> PublishedCheckpoint:
    """The server's file as if it were the official ViT-B; pooch's seconds between two tries are left out."""
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    return replace(
        CHECKPOINTS["vit_b"],
        url=f"http://127.0.0.1:{server.server_address[1]}/sam.pth",
        bytes=len(server.content),
        sha256=hashlib.sha256(server.content).hexdigest(),
    )


@pytest.fixture
def as_vit_b(known: PublishedCheckpoint, monkeypatch: pytest.MonkeyPatch) -> PublishedCheckpoint:
    """The same, put into the catalogue."""
    monkeypatch.setitem(CHECKPOINTS, "vit_b", known)
    return known


@pytest.fixture
def unhashed(known: PublishedCheckpoint, server: Server, monkeypatch: pytest.MonkeyPatch) -> PublishedCheckpoint:
    """The server's file in the catalogue as one of which neither size nor hash is published."""
    server.content = b"PK\x03\x04" + server.content  # told from web pages by its first bytes
    unhashed = replace(known, name="sam_hq_vit_b", file_name="sam_hq_vit_b.pth", bytes=None, sha256=None)
    monkeypatch.setitem(CHECKPOINTS, "sam_hq_vit_b", unhashed)
    return unhashed


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, no named checkpoint, downloads allowed."""
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MASAM_CHECKPOINT", raising=False)
    monkeypatch.delenv("MASAM_OFFLINE", raising=False)
