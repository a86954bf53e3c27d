"""Small networks that classify pictures."""

from collections.abc import Callable

from torch import nn

from tests.sources.rules.zoo_parts import bare, bn, cbr, conv, raw, tree

__all__ = ["VISION"]

S = nn.Sequential


def vit_timm() -> nn.Module:
    def block() -> nn.Module:
        attn = tree(qkv=nn.Linear(48, 144), proj=nn.Linear(48, 48))
        mlp = tree(fc1=nn.Linear(48, 192), fc2=nn.Linear(192, 48))
        return tree(norm1=nn.LayerNorm(48), attn=attn, norm2=nn.LayerNorm(48), mlp=mlp)

    return tree(
        cls_token=raw(1, 1, 48), pos_embed=raw(1, 65, 48), patch_embed=tree(proj=conv(3, 48, 4)),
        blocks=S(block(), block()), norm=nn.LayerNorm(48), head=nn.Linear(48, 10),
    )  # fmt: skip


def alexnet_grouped() -> nn.Module:
    return tree(
        conv1=conv(3, 32, 11), conv2=conv(32, 64, 5, groups=2), conv3=conv(64, 96), conv4=conv(96, 96, groups=2),
        conv5=conv(96, 64, groups=2), fc6=nn.Linear(256, 128), fc7=nn.Linear(128, 10),
    )  # fmt: skip


def resnext() -> nn.Module:
    def block(i: int, w: int, o: int) -> nn.Module:
        return tree(
            conv1=bare(i, w, 1), bn1=bn(w), conv2=bare(w, w, 3, groups=4), bn2=bn(w), conv3=bare(w, o, 1), bn3=bn(o),
            downsample=S(bare(i, o, 1), bn(o)),
        )  # fmt: skip

    return tree(conv1=bare(3, 16, 7), bn1=bn(16), layer1=S(block(16, 32, 64)), layer2=S(block(64, 64, 128)),
                fc=nn.Linear(128, 10))  # fmt: skip


def grouped_wider() -> nn.Module:
    return S(bare(3, 32), bn(32), nn.ReLU(), bare(32, 64, 3, groups=4), bn(64), nn.ReLU(), bare(64, 64, 1), bn(64))


def resnet(bias: bool = False) -> nn.Module:
    def block(i: int, o: int) -> nn.Module:
        parts: dict[str, nn.Module] = {"conv1": conv(i, o, bias=bias), "bn1": bn(o), "conv2": conv(o, o, bias=bias)}
        parts["bn2"] = bn(o)
        if i != o:
            parts["downsample"] = S(conv(i, o, 1, bias=bias), bn(o))
        return tree(**parts)

    return tree(conv1=conv(3, 16, bias=bias), bn1=bn(16), layer1=S(block(16, 16), block(16, 16)),
                layer2=S(block(16, 32), block(32, 32)), layer3=S(block(32, 64)), fc=nn.Linear(64, 10))  # fmt: skip


def bottleneck() -> nn.Module:
    def block(i: int, w: int) -> nn.Module:
        parts: dict[str, nn.Module] = {"conv1": bare(i, w, 1), "bn1": bn(w), "conv2": bare(w, w), "bn2": bn(w)}
        parts |= {"conv3": bare(w, 4 * w, 1), "bn3": bn(4 * w)}
        if i != 4 * w:
            parts["downsample"] = S(bare(i, 4 * w, 1), bn(4 * w))
        return tree(**parts)

    return tree(conv1=bare(3, 16, 7), bn1=bn(16), layer1=S(block(16, 16), block(64, 16)),
                layer2=S(block(64, 32), block(128, 32)), fc=nn.Linear(128, 10))  # fmt: skip


def vgg(norm: bool = False) -> nn.Module:
    layers: list[nn.Module] = []
    for i, o in ((3, 16), (16, 16), (16, 32), (32, 32), (32, 32)):
        layers += [conv(i, o), *([bn(o)] if norm else []), nn.ReLU()]
    return tree(features=S(*layers), classifier=S(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)))


def mobilenet_v1() -> nn.Module:
    def pair(i: int, o: int) -> nn.Module:
        return S(bare(i, i, groups=i), bn(i), nn.ReLU(), bare(i, o, 1), bn(o), nn.ReLU())

    return tree(model=S(S(bare(3, 16), bn(16), nn.ReLU()), pair(16, 32), pair(32, 64)), fc=nn.Linear(64, 10))


def inverted(i: int, o: int, ratio: int) -> nn.Module:
    hidden = i * ratio
    layers: list[nn.Module] = [cbr(i, hidden, 1)] if ratio > 1 else []
    return tree(conv=S(*layers, cbr(hidden, hidden, groups=hidden), bare(hidden, o, 1), bn(o)))


def mobilenet_v2() -> nn.Module:
    blocks = (inverted(32, 16, 1), inverted(16, 24, 6), inverted(24, 24, 6))
    return tree(features=S(cbr(3, 32), *blocks, cbr(24, 128, 1)), classifier=S(nn.Dropout(), nn.Linear(128, 10)))


def mobilenet_v3() -> nn.Module:
    def block(i: int, h: int, o: int) -> nn.Module:
        gate = tree(fc1=conv(h, h // 4, 1), fc2=conv(h // 4, h, 1))
        return tree(block=S(cbr(i, h, 1), cbr(h, h, 5, groups=h), gate, cbr(h, o, 1)))

    features = S(cbr(3, 16), block(16, 32, 24), block(24, 64, 24), cbr(24, 96, 1))
    return tree(features=features, classifier=S(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10)))


def efficientnet_like() -> nn.Module:
    def block(i: int, o: int, ratio: int) -> nn.Module:
        h = i * ratio
        parts: dict[str, nn.Module] = {"_expand_conv": bare(i, h, 1), "_bn0": bn(h)} if ratio > 1 else {}
        parts |= {"_depthwise_conv": bare(h, h, groups=h), "_bn1": bn(h), "_se_reduce": conv(h, i // 4, 1)}
        parts |= {"_se_expand": conv(i // 4, h, 1), "_project_conv": bare(h, o, 1), "_bn2": bn(o)}
        return tree(**parts)

    blocks = nn.ModuleList([block(32, 16, 1), block(16, 24, 6), block(24, 24, 6)])
    return tree(_conv_stem=bare(3, 32), _bn0=bn(32), _blocks=blocks, _conv_head=bare(24, 64, 1), _bn1=bn(64),
                _fc=nn.Linear(64, 10))  # fmt: skip


def depthwise_multiplier() -> nn.Module:
    return tree(c1=bare(3, 24), bn1=bn(24), dw=bare(24, 24, groups=24), bn2=bn(24), dwm=bare(24, 48, groups=24),
                bn3=bn(48), pw=bare(48, 32, 1))  # fmt: skip


def mini_xception() -> nn.Module:
    def separable(i: int, o: int) -> nn.Module:
        return tree(depthwise=bare(i, i, groups=i), pointwise=bare(i, o, 1))

    def block(i: int, o: int) -> nn.Module:
        return tree(conv=bare(i, o, 1), bn=bn(o), sep1=separable(i, o), bn1=bn(o), sep2=separable(o, o), bn2=bn(o))

    return tree(conv1=bare(1, 8), bn1=bn(8), conv2=bare(8, 8), bn2=bn(8), block1=block(8, 16), block2=block(16, 32),
                conv3=conv(32, 7))  # fmt: skip


def conv_next() -> nn.Module:
    def block(n: int) -> nn.Module:
        return tree(
            gamma=raw(n), dwconv=conv(n, n, 7, groups=n), norm=nn.LayerNorm(n), pwconv1=nn.Linear(n, 4 * n),
            pwconv2=nn.Linear(4 * n, n),
        )  # fmt: skip

    downs = nn.ModuleList([S(conv(3, 16, 4), nn.LayerNorm(16)), S(nn.LayerNorm(16), conv(16, 32, 2))])
    stages = nn.ModuleList([S(block(16)), S(block(32))])
    return tree(downsample_layers=downs, stages=stages, norm=nn.LayerNorm(32), head=nn.Linear(32, 10))


def dense_net() -> nn.Module:
    def layer(i: int) -> nn.Module:
        return tree(norm1=bn(i), conv1=bare(i, 48, 1), norm2=bn(48), conv2=bare(48, 12))

    block = tree(denselayer1=layer(16), denselayer2=layer(28), denselayer3=layer(40))
    transition = tree(norm=bn(52), conv=bare(52, 26, 1))
    features = tree(conv0=bare(3, 16, 7), norm0=bn(16), denseblock1=block, transition1=transition, norm5=bn(26))
    return tree(features=features, classifier=nn.Linear(26, 10))


def inception() -> nn.Module:
    def unit(i: int, o: int, k: int) -> nn.Module:
        return tree(conv=bare(i, o, k), bn=bn(o))

    def block(i: int) -> nn.Module:
        return tree(branch1=unit(i, 16, 1), branch2=S(unit(i, 24, 1), unit(24, 32, 3)),
                    branch3=S(unit(i, 4, 1), unit(4, 8, 3)), branch4=S(nn.MaxPool2d(3), unit(i, 8, 1)))  # fmt: skip

    return tree(conv1=unit(3, 32, 7), inception3a=block(32), inception3b=block(64), fc=nn.Linear(64, 10))


def squeeze_net() -> nn.Module:
    def fire(i: int, s: int, e: int) -> nn.Module:
        return tree(squeeze=conv(i, s, 1), expand1x1=conv(s, e, 1), expand3x3=conv(s, e, 3))

    return tree(features=S(conv(3, 32, 7), nn.ReLU(), fire(32, 8, 32), fire(64, 8, 32)), classifier=S(conv(64, 10, 1)))


def shuffle_net() -> nn.Module:
    def branch(i: int) -> nn.Module:
        return S(bare(i, i, 1), bn(i), nn.ReLU(), bare(i, i, groups=i), bn(i), bare(i, i, 1), bn(i), nn.ReLU())

    left = S(bare(24, 24, groups=24), bn(24), bare(24, 24, 1), bn(24))
    first = tree(branch1=left, branch2=branch(24))
    return tree(conv1=cbr(3, 24), stage2=S(first, tree(branch2=branch(24))), fc=nn.Linear(48, 10))


def le_net() -> nn.Module:
    return tree(conv1=conv(1, 6, 5), conv2=conv(6, 16, 5), fc1=nn.Linear(256, 120), fc2=nn.Linear(120, 84),
                fc3=nn.Linear(84, 10))  # fmt: skip


def mixer() -> nn.Module:
    block = tree(norm1=nn.LayerNorm(32), mlp_tokens=tree(fc1=nn.Linear(16, 24), fc2=nn.Linear(24, 16)),
                 norm2=nn.LayerNorm(32), mlp_channels=tree(fc1=nn.Linear(32, 64), fc2=nn.Linear(64, 32)))  # fmt: skip
    return tree(stem=tree(proj=conv(3, 32, 4)), blocks=S(block), norm=nn.LayerNorm(32), head=nn.Linear(32, 10))


def attention_gate() -> nn.Module:
    gate = tree(fc1=bare(32, 2, 1), fc2=bare(2, 32, 1))
    return tree(conv1=bare(3, 32), bn1=bn(32), ca=gate, sa=tree(conv1=bare(2, 1, 7)), fc=nn.Linear(32, 10))


VISION: dict[str, Callable[[], nn.Module]] = {
    maker.__name__: maker
    for maker in (
        vit_timm,
        alexnet_grouped,
        resnext,
        grouped_wider,
        resnet,
        bottleneck,
        vgg,
        mobilenet_v1,
        mobilenet_v2,
        mobilenet_v3,
        efficientnet_like,
        depthwise_multiplier,
        mini_xception,
        conv_next,
        dense_net,
        inception,
        squeeze_net,
        shuffle_net,
        le_net,
        mixer,
        attention_gate,
    )
}
"""Name to maker."""
VISION["vgg_bn"] = lambda: vgg(norm=True)
VISION["resnet_biased"] = lambda: resnet(bias=True)
