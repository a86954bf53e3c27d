"""Small networks of sounds, signals, points and several inputs."""

from collections.abc import Callable

from torch import nn

from tests.sources.rules.zoo_parts import bare, bn, cbr, conv, tree, weight_normed

__all__ = ["SIGNALS"]

S = nn.Sequential


def tcn() -> nn.Module:
    def block(i: int, o: int) -> nn.Module:
        parts: dict[str, nn.Module] = {
            "conv1": weight_normed(nn.Conv1d(i, o, 3)),
            "conv2": weight_normed(nn.Conv1d(o, o, 3)),
        }
        return tree(**parts, **({"downsample": nn.Conv1d(i, o, 1)} if i != o else {}))

    return tree(tcn=tree(network=S(block(1, 16), block(16, 16), block(16, 32))), linear=nn.Linear(32, 10))


def wave_net() -> nn.Module:
    def layers(i: int, o: int, k: int) -> nn.ModuleList:
        return nn.ModuleList([nn.Conv1d(i, o, k, bias=False) for _ in range(3)])

    return tree(filter_convs=layers(16, 16, 2), gate_convs=layers(16, 16, 2), residual_convs=layers(16, 16, 1),
                skip_convs=layers(16, 32, 1), start_conv=nn.Conv1d(64, 16, 1), end_conv_1=nn.Conv1d(32, 32, 1),
                end_conv_2=nn.Conv1d(32, 64, 1))  # fmt: skip


def speech_crnn() -> nn.Module:
    convs = S(conv(1, 32, (11, 41), bias=False), bn(32), nn.Hardtanh(), conv(32, 32, (11, 21), bias=False), bn(32))
    return tree(conv=convs, rnns=nn.GRU(96, 40, 2, bidirectional=True),
                fc=S(nn.BatchNorm1d(80), nn.Linear(80, 29, bias=False)))  # fmt: skip


def crnn() -> nn.Module:
    cnn = tree(conv0=conv(1, 16), conv1=conv(16, 32), conv2=conv(32, 64), batchnorm2=bn(64), conv3=conv(64, 64, 2))
    first = tree(rnn=nn.LSTM(64, 32, bidirectional=True), embedding=nn.Linear(64, 32))
    second = tree(rnn=nn.LSTM(32, 32, bidirectional=True), embedding=nn.Linear(64, 37))
    return tree(cnn=cnn, rnn=S(first, second))


def point_net() -> nn.Module:
    return tree(conv1=nn.Conv1d(3, 64, 1), conv2=nn.Conv1d(64, 128, 1), bn1=nn.BatchNorm1d(64),
                bn2=nn.BatchNorm1d(128), fc1=nn.Linear(128, 64), fc2=nn.Linear(64, 9))  # fmt: skip


def conv_lstm() -> nn.Module:
    return tree(cell=tree(conv=conv(17, 64)), out=conv(16, 1, 1))


def eeg_net() -> nn.Module:
    return tree(
        conv1=bare(1, 8, (1, 64)), batchnorm1=bn(8), depthwise=bare(8, 16, (22, 1), groups=8), batchnorm2=bn(16),
        separable=S(bare(16, 16, (1, 16), groups=16), bare(16, 16, 1)), batchnorm3=bn(16), dense=nn.Linear(128, 4),
    )  # fmt: skip


def two_stems() -> nn.Module:
    return tree(spec=conv(1, 16), mfcc=conv(1, 16), fc=nn.Linear(32, 4))


def two_streams() -> nn.Module:
    rgb, depth = S(conv(3, 16), conv(16, 32)), S(conv(1, 16), conv(16, 32))
    return tree(rgb=rgb, depth=depth, head=nn.Linear(64, 10))


def two_streams_bn() -> nn.Module:
    return tree(rgb=S(cbr(3, 16), cbr(16, 32)), depth=S(cbr(1, 16), cbr(16, 32)), fuse=cbr(64, 32), head=conv(32, 5, 1))


def two_stems_of_two() -> nn.Module:
    return tree(rgb=conv(3, 16), depth=conv(1, 16), head=conv(32, 8))


def causal_cnn3d() -> nn.Module:
    return tree(conv1=nn.Conv3d(3, 16, 3), conv2=nn.Conv3d(16, 32, 3), fc=nn.Linear(256, 5))


def siamese() -> nn.Module:
    return tree(cnn1=S(conv(1, 4), bn(4), conv(4, 8), bn(8), conv(8, 8), bn(8)),
                fc1=S(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5)))  # fmt: skip


def atari() -> nn.Module:
    return tree(network=S(conv(4, 32, 8), nn.ReLU(), conv(32, 64, 4), nn.ReLU(), conv(64, 64)), fc=nn.Linear(576, 64),
                actor=nn.Linear(64, 6), critic=nn.Linear(64, 1))  # fmt: skip


SIGNALS: dict[str, Callable[[], nn.Module]] = {
    maker.__name__: maker
    for maker in (
        tcn,
        wave_net,
        speech_crnn,
        crnn,
        point_net,
        conv_lstm,
        eeg_net,
        two_stems,
        two_streams,
        two_streams_bn,
        two_stems_of_two,
        causal_cnn3d,
        siamese,
        atari,
    )
}
"""Name to maker."""
