"""Small random networks of common architectures, named and ordered as the code that people publish writes them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

__all__ = ["ZOO"]

S = nn.Sequential


def tree(**children: Any) -> nn.Module:
    """A module of these children and parameters, in their order."""
    module = nn.Module()
    for name, child in children.items():
        if isinstance(child, nn.Parameter):
            module.register_parameter(name, child)
        else:
            module.add_module(name, child)
    return module


def raw(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def conv(i: int, o: int, k: Any = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, **options)


def bare(i: int, o: int, k: Any = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, bias=False, **options)


def up(i: int, o: int, k: int = 4, **options: Any) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(i, o, k, **options)


def bn(n: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(n)


def cbr(i: int, o: int, k: int = 3, **options: Any) -> nn.Sequential:
    return S(bare(i, o, k, **options), bn(o), nn.ReLU())


def weight_normed(module: nn.Module) -> nn.Module:
    return weight_norm(module)


def char_rnn() -> nn.Module:
    return tree(embedding=nn.Embedding(65, 32), lstm=nn.LSTM(32, 64), fc=nn.Linear(64, 65))


def char_gru() -> nn.Module:
    return tree(encoder=nn.Embedding(65, 48), gru=nn.GRU(48, 48, 2), decoder=nn.Linear(48, 65))


def text_classifier() -> nn.Module:
    rnn = nn.LSTM(50, 64, bidirectional=True)
    return tree(embedding=nn.Embedding(300, 50), lstm=rnn, fc=nn.Linear(128, 2))


def summing_rnn() -> nn.Module:
    return tree(emb=nn.Embedding(200, 32), gru=nn.GRU(32, 48, bidirectional=True), out=nn.Linear(96, 200))


def seq2seq() -> nn.Module:
    encoder = tree(embedding=nn.Embedding(300, 32), gru=nn.GRU(32, 48))
    attention = tree(Wa=nn.Linear(48, 48), Ua=nn.Linear(48, 48), Va=nn.Linear(48, 1))
    decoder = tree(embedding=nn.Embedding(200, 32), attention=attention, gru=nn.GRU(80, 48), out=nn.Linear(48, 200))
    return tree(encoder=encoder, decoder=decoder)


def word_lm() -> nn.Module:
    return tree(encoder=nn.Embedding(200, 32), rnn=nn.LSTM(32, 64, 2), decoder=nn.Linear(64, 200))


def word_lm_untied() -> nn.Module:
    return tree(encoder=nn.Embedding(200, 32), rnn=nn.LSTM(32, 32, 2), decoder=nn.Linear(32, 200))


def transformer_lm() -> nn.Module:
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64), 2, enable_nested_tensor=False)
    return tree(encoder=nn.Embedding(200, 32), transformer_encoder=layers, decoder=nn.Linear(32, 200))


def translator() -> nn.Module:
    return tree(
        src_tok_emb=nn.Embedding(150, 32), tgt_tok_emb=nn.Embedding(120, 32),
        transformer=nn.Transformer(32, 4, 1, 1, 64), generator=nn.Linear(32, 120),
    )  # fmt: skip


def nano_gpt() -> nn.Module:
    attn = tree(c_attn=nn.Linear(32, 96, bias=False), c_proj=nn.Linear(32, 32, bias=False))
    mlp = tree(c_fc=nn.Linear(32, 128, bias=False), c_proj=nn.Linear(128, 32, bias=False))
    block = tree(ln_1=nn.LayerNorm(32), attn=attn, ln_2=nn.LayerNorm(32), mlp=mlp)
    body = tree(wte=nn.Embedding(65, 32), wpe=nn.Embedding(16, 32), h=nn.ModuleList([block]), ln_f=nn.LayerNorm(32))
    return tree(transformer=body, lm_head=nn.Linear(32, 65, bias=False))


def llama_like() -> nn.Module:
    def block() -> nn.Module:
        attention = tree(
            wq=nn.Linear(32, 32, bias=False), wk=nn.Linear(32, 16, bias=False), wv=nn.Linear(32, 16, bias=False),
            wo=nn.Linear(32, 32, bias=False),
        )  # fmt: skip
        ffn = tree(w1=nn.Linear(32, 88, bias=False), w2=nn.Linear(88, 32, bias=False), w3=nn.Linear(32, 88, bias=False))
        norms = {"attention_norm": nn.RMSNorm(32), "ffn_norm": nn.RMSNorm(32)}
        return tree(attention=attention, feed_forward=ffn, **norms)

    return tree(
        tok_embeddings=nn.Embedding(120, 32), layers=nn.ModuleList([block(), block()]), norm=nn.RMSNorm(32),
        output=nn.Linear(32, 120, bias=False),
    )  # fmt: skip


def bert_like() -> nn.Module:
    embeddings = tree(
        word_embeddings=nn.Embedding(100, 32), position_embeddings=nn.Embedding(64, 32),
        token_type_embeddings=nn.Embedding(2, 32), LayerNorm=nn.LayerNorm(32),
    )  # fmt: skip
    own = tree(query=nn.Linear(32, 32), key=nn.Linear(32, 32), value=nn.Linear(32, 32))
    layer = tree(
        attention=tree(self=own, output=tree(dense=nn.Linear(32, 32), LayerNorm=nn.LayerNorm(32))),
        intermediate=tree(dense=nn.Linear(32, 64)), output=tree(dense=nn.Linear(64, 32), LayerNorm=nn.LayerNorm(32)),
    )  # fmt: skip
    return tree(embeddings=embeddings, encoder=tree(layer=nn.ModuleList([layer])), pooler=tree(dense=nn.Linear(32, 32)))


def vit_timm() -> nn.Module:
    def block() -> nn.Module:
        attn = tree(qkv=nn.Linear(48, 144), proj=nn.Linear(48, 48))
        mlp = tree(fc1=nn.Linear(48, 192), fc2=nn.Linear(192, 48))
        return tree(norm1=nn.LayerNorm(48), attn=attn, norm2=nn.LayerNorm(48), mlp=mlp)

    return tree(
        cls_token=raw(1, 1, 48), pos_embed=raw(1, 65, 48), patch_embed=tree(proj=conv(3, 48, 4)),
        blocks=S(block(), block()), norm=nn.LayerNorm(48), head=nn.Linear(48, 10),
    )  # fmt: skip


def text_cnn() -> nn.Module:
    convs = nn.ModuleList([conv(1, 20, (k, 50)) for k in (3, 4, 5)])
    return tree(embedding=nn.Embedding(300, 50), convs=convs, fc=nn.Linear(60, 2))


def text_cnn_1d() -> nn.Module:
    names = {f"conv_{k}": nn.Conv1d(50, 20, k) for k in (3, 4, 5)}
    return tree(embed=nn.Embedding(300, 50), **names, fc=nn.Linear(60, 2))


def two_stems() -> nn.Module:
    return tree(spec=conv(1, 16), mfcc=conv(1, 16), fc=nn.Linear(32, 4))


def two_streams() -> nn.Module:
    rgb, depth = S(conv(3, 16), conv(16, 32)), S(conv(1, 16), conv(16, 32))
    return tree(rgb=rgb, depth=depth, head=nn.Linear(64, 10))


def two_streams_bn() -> nn.Module:
    return tree(rgb=S(cbr(3, 16), cbr(16, 32)), depth=S(cbr(1, 16), cbr(16, 32)), fuse=cbr(64, 32), head=conv(32, 5, 1))


def two_stems_of_two() -> nn.Module:
    return tree(rgb=conv(3, 16), depth=conv(1, 16), head=conv(32, 8))


def mamba_like() -> nn.Module:
    mixer = tree(
        A_log=raw(64, 8), D=raw(64), in_proj=nn.Linear(32, 128, bias=False), conv1d=nn.Conv1d(64, 64, 4, groups=64),
        x_proj=nn.Linear(64, 18, bias=False), dt_proj=nn.Linear(2, 64), out_proj=nn.Linear(64, 32, bias=False),
    )  # fmt: skip
    return tree(
        embedding=nn.Embedding(100, 32), layers=S(tree(mixer=mixer, norm=nn.RMSNorm(32))), norm_f=nn.RMSNorm(32)
    )


def dcgan_generator(last: int = 3) -> nn.Module:
    return S(
        up(100, 64, bias=False), bn(64), nn.ReLU(), up(64, 32, bias=False), bn(32), nn.ReLU(),
        up(32, 16, bias=False), bn(16), nn.ReLU(), up(16, last, bias=False),
    )  # fmt: skip


def dcgan_discriminator() -> nn.Module:
    return S(
        bare(3, 16, 4), nn.LeakyReLU(), bare(16, 32, 4), bn(32), nn.LeakyReLU(), bare(32, 64, 4), bn(64),
        nn.LeakyReLU(), bare(64, 1, 4),
    )  # fmt: skip


def dcgan_biased() -> nn.Module:
    return tree(main=S(up(100, 64), bn(64), nn.ReLU(), up(64, 32), bn(32), nn.ReLU(), up(32, 3)))


def gan_pair() -> nn.Module:
    return tree(netG=tree(main=dcgan_generator()), netD=tree(main=dcgan_discriminator()))


def equal_up() -> nn.Module:
    return S(
        up(64, 32, bias=False), bn(32), nn.ReLU(), up(32, 32, bias=False), bn(32), nn.ReLU(),
        up(32, 16, bias=False), bn(16), nn.ReLU(), up(16, 1, bias=False),
    )  # fmt: skip


def double(i: int, o: int, make: Callable[..., nn.Conv2d]) -> nn.Sequential:
    if make is conv:
        return S(conv(i, o), nn.ReLU(), conv(o, o), nn.ReLU())
    return S(bare(i, o), bn(o), nn.ReLU(), bare(o, o), bn(o), nn.ReLU())


def u_net(make: Callable[..., nn.Conv2d] = conv) -> nn.Module:
    def rise(i: int, o: int) -> nn.Module:
        return tree(up=up(i, o, 2, stride=2), conv=double(i, o, make))

    return tree(
        inc=double(3, 16, make), down1=S(nn.MaxPool2d(2), double(16, 32, make)),
        down2=S(nn.MaxPool2d(2), double(32, 64, make)), up1=rise(64, 32), up2=rise(32, 16), outc=conv(16, 2, 1),
    )  # fmt: skip


def u_net_even() -> nn.Module:
    return tree(
        enc1=S(conv(1, 16), nn.ReLU(), conv(16, 16)), enc2=S(conv(16, 16), nn.ReLU(), conv(16, 16)),
        up=up(16, 16, 2, stride=2), dec=S(conv(32, 16), nn.ReLU(), conv(16, 16)), out=conv(16, 1, 1),
    )  # fmt: skip


def autoencoder() -> nn.Module:
    encoder = S(conv(1, 16), nn.ReLU(), conv(16, 32), nn.ReLU(), conv(32, 64, 7))
    decoder = S(up(64, 32, 7), nn.ReLU(), up(32, 16, 3), nn.ReLU(), up(16, 1, 3))
    return tree(encoder=encoder, decoder=decoder)


def autoencoder_bare() -> nn.Module:
    encoder = S(bare(3, 16), bn(16), nn.ReLU(), bare(16, 32), bn(32), nn.ReLU())
    decoder = S(up(32, 16, bias=False), bn(16), nn.ReLU(), up(16, 3, bias=False))
    return tree(encoder=encoder, decoder=decoder)


def autoencoder_nothing() -> nn.Module:
    encoder = S(bare(3, 16, 4), nn.ReLU(), bare(16, 32, 4), nn.ReLU(), bare(32, 64, 4))
    decoder = S(up(64, 32, bias=False), nn.ReLU(), up(32, 16, bias=False), nn.ReLU(), up(16, 3, bias=False))
    return tree(encoder=encoder, decoder=decoder)


def linear_autoencoder() -> nn.Module:
    encoder = S(nn.Linear(64, 32, bias=False), nn.ReLU(), nn.Linear(32, 8, bias=False))
    decoder = S(nn.Linear(8, 32, bias=False), nn.ReLU(), nn.Linear(32, 64, bias=False))
    return tree(encoder=encoder, decoder=decoder)


def vae() -> nn.Module:
    return tree(
        fc1=nn.Linear(64, 40), fc21=nn.Linear(40, 8), fc22=nn.Linear(40, 8), fc3=nn.Linear(8, 40), fc4=nn.Linear(40, 64)
    )


def conv_vae() -> nn.Module:
    return tree(
        encoder=S(conv(3, 32, 4), nn.ReLU(), conv(32, 32, 4), nn.ReLU(), conv(32, 64, 4)), fc_mu=nn.Linear(256, 16),
        fc_var=nn.Linear(256, 16), decoder_input=nn.Linear(16, 256),
        decoder=S(up(64, 32), nn.ReLU(), up(32, 32), nn.ReLU(), up(32, 3)),
    )  # fmt: skip


def vq_vae() -> nn.Module:
    return tree(
        enc=S(conv(3, 32, 4), conv(32, 64, 4)), vq=tree(embedding=nn.Embedding(128, 64)), dec=S(up(64, 32), up(32, 3))
    )


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


def eeg_net() -> nn.Module:
    return tree(
        conv1=bare(1, 8, (1, 64)), batchnorm1=bn(8), depthwise=bare(8, 16, (22, 1), groups=8), batchnorm2=bn(16),
        separable=S(bare(16, 16, (1, 16), groups=16), bare(16, 16, 1)), batchnorm3=bn(16), dense=nn.Linear(128, 4),
    )  # fmt: skip


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


def siamese() -> nn.Module:
    return tree(cnn1=S(conv(1, 4), bn(4), conv(4, 8), bn(8), conv(8, 8), bn(8)),
                fc1=S(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5)))  # fmt: skip


def espcn() -> nn.Module:
    return tree(conv1=conv(1, 64, 5), conv2=conv(64, 32), conv3=conv(32, 9))


def vdsr() -> nn.Module:
    return tree(residual_layer=S(*(tree(conv=bare(16, 16)) for _ in range(3))), input=bare(1, 16), output=bare(16, 1))


def fsrcnn() -> nn.Module:
    middle = S(conv(56, 12, 1), nn.PReLU(12), conv(12, 12), nn.PReLU(12), conv(12, 56, 1), nn.PReLU(56))
    return tree(first_part=S(conv(1, 56, 5), nn.PReLU(56)), mid_part=middle, last_part=up(56, 1, 9))


def cycle_gan() -> nn.Module:
    def residual() -> nn.Module:
        return tree(conv_block=S(conv(64, 64), nn.ReLU(), conv(64, 64)))

    return tree(model=S(conv(3, 16, 7), nn.ReLU(), conv(16, 32), nn.ReLU(), conv(32, 64), nn.ReLU(), residual(),
                        residual(), up(64, 32, 3), nn.ReLU(), up(32, 16, 3), nn.ReLU(), conv(16, 3, 7)))  # fmt: skip


def pix2pix() -> nn.Module:
    def level(outer: int, inner: int, i: int, sub: nn.Module | None) -> nn.Module:
        down = bare(i, inner, 4)
        rising = up(inner if sub is None else 2 * inner, outer, bias=False)
        middle = [down, nn.LeakyReLU(), *([bn(inner)] if sub else []), *([sub] if sub else []), nn.ReLU()]
        return tree(model=S(*middle, rising, bn(outer)))

    inner = level(32, 64, 32, None)
    return level(3, 32, 3, level(32, 32, 32, inner))


def matrix_factorisation() -> nn.Module:
    return tree(user_factors=nn.Embedding(100, 20), item_factors=nn.Embedding(80, 20))


def matrix_factorisation_biased() -> nn.Module:
    return tree(
        user_factors=nn.Embedding(100, 20), item_factors=nn.Embedding(80, 20), user_bias=nn.Embedding(100, 1),
        item_bias=nn.Embedding(80, 1),
    )  # fmt: skip


def collaborative() -> nn.Module:
    return tree(
        embed_user_GMF=nn.Embedding(100, 8), embed_item_GMF=nn.Embedding(90, 8), embed_user_MLP=nn.Embedding(100, 32),
        embed_item_MLP=nn.Embedding(90, 32), MLP_layers=S(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)),
        predict_layer=nn.Linear(16, 1),
    )  # fmt: skip


def dlrm() -> nn.Module:
    tables = nn.ModuleList([nn.EmbeddingBag(n, 16) for n in (60, 40, 90)])
    return tree(emb_l=tables, bot_l=S(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 16)),
                top_l=S(nn.Linear(22, 32), nn.ReLU(), nn.Linear(32, 1)))  # fmt: skip


def skip_gram() -> nn.Module:
    return tree(u_embeddings=nn.Embedding(200, 20), v_embeddings=nn.Embedding(200, 20))


def actor_critic() -> nn.Module:
    def mlp(o: int) -> nn.Module:
        return S(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, o))

    return tree(actor=mlp(4), critic=mlp(1))


def atari() -> nn.Module:
    return tree(network=S(conv(4, 32, 8), nn.ReLU(), conv(32, 64, 4), nn.ReLU(), conv(64, 64)), fc=nn.Linear(576, 64),
                actor=nn.Linear(64, 6), critic=nn.Linear(64, 1))  # fmt: skip


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


def hifi_gan() -> nn.Module:
    w = weight_normed
    ups = nn.ModuleList([w(nn.ConvTranspose1d(64, 32, 16, 8)), w(nn.ConvTranspose1d(32, 16, 4, 2))])
    blocks = nn.ModuleList([tree(convs1=nn.ModuleList([w(nn.Conv1d(n, n, 3))])) for n in (32, 16)])
    return tree(conv_pre=w(nn.Conv1d(80, 64, 7)), ups=ups, resblocks=blocks,
                conv_post=parametrizations.weight_norm(nn.Conv1d(16, 1, 7)))  # fmt: skip


def point_net() -> nn.Module:
    return tree(conv1=nn.Conv1d(3, 64, 1), conv2=nn.Conv1d(64, 128, 1), bn1=nn.BatchNorm1d(64),
                bn2=nn.BatchNorm1d(128), fc1=nn.Linear(128, 64), fc2=nn.Linear(64, 9))  # fmt: skip


def gcn() -> nn.Module:
    return tree(gc1=tree(weight=raw(30, 16), bias=raw(16)), gc2=tree(weight=raw(16, 7), bias=raw(7)))


def raw_mlp() -> nn.Module:
    return tree(W1=raw(20, 40), b1=raw(40), W2=raw(40, 5), b2=raw(5))


def speech_crnn() -> nn.Module:
    convs = S(conv(1, 32, (11, 41), bias=False), bn(32), nn.Hardtanh(), conv(32, 32, (11, 21), bias=False), bn(32))
    return tree(conv=convs, rnns=nn.GRU(96, 40, 2, bidirectional=True),
                fc=S(nn.BatchNorm1d(80), nn.Linear(80, 29, bias=False)))  # fmt: skip


def crnn() -> nn.Module:
    cnn = tree(conv0=conv(1, 16), conv1=conv(16, 32), conv2=conv(32, 64), batchnorm2=bn(64), conv3=conv(64, 64, 2))
    first = tree(rnn=nn.LSTM(64, 32, bidirectional=True), embedding=nn.Linear(64, 32))
    second = tree(rnn=nn.LSTM(32, 32, bidirectional=True), embedding=nn.Linear(64, 37))
    return tree(cnn=cnn, rnn=S(first, second))


def mlp_bare() -> nn.Module:
    return S(nn.Linear(20, 40, bias=False), nn.ReLU(), nn.Linear(40, 40, bias=False), nn.ReLU(),
             nn.Linear(40, 5, bias=False))  # fmt: skip


def mlp_norm() -> nn.Module:
    return S(nn.Linear(20, 40, bias=False), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 5, bias=False))


def mixer() -> nn.Module:
    block = tree(norm1=nn.LayerNorm(32), mlp_tokens=tree(fc1=nn.Linear(16, 24), fc2=nn.Linear(24, 16)),
                 norm2=nn.LayerNorm(32), mlp_channels=tree(fc1=nn.Linear(32, 64), fc2=nn.Linear(64, 32)))  # fmt: skip
    return tree(stem=tree(proj=conv(3, 32, 4)), blocks=S(block), norm=nn.LayerNorm(32), head=nn.Linear(32, 10))


def diffusion() -> nn.Module:
    def res(i: int, o: int) -> nn.Module:
        parts: dict[str, nn.Module] = {
            "norm1": nn.GroupNorm(4, i), "conv1": conv(i, o), "time_emb_proj": nn.Linear(64, o),
            "norm2": nn.GroupNorm(4, o), "conv2": conv(o, o),
        }  # fmt: skip
        return tree(**parts, **({"conv_shortcut": conv(i, o, 1)} if i != o else {}))

    down = tree(resnets=nn.ModuleList([res(16, 32)]), downsamplers=nn.ModuleList([tree(conv=conv(32, 32))]))
    rise = tree(resnets=nn.ModuleList([res(64, 16)]), upsamplers=nn.ModuleList([tree(conv=conv(16, 16))]))
    time = tree(linear_1=nn.Linear(16, 64), linear_2=nn.Linear(64, 64))
    return tree(conv_in=conv(3, 16), time_embedding=time, down_blocks=nn.ModuleList([down]),
                up_blocks=nn.ModuleList([rise]), conv_norm_out=nn.GroupNorm(4, 16), conv_out=conv(16, 3))  # fmt: skip


def conv_lstm() -> nn.Module:
    return tree(cell=tree(conv=conv(17, 64)), out=conv(16, 1, 1))


def tagger() -> nn.Module:
    return tree(word_embeds=nn.Embedding(300, 50), lstm=nn.LSTM(50, 32, bidirectional=True),
                hidden2tag=nn.Linear(64, 9))  # fmt: skip


def causal_cnn3d() -> nn.Module:
    return tree(conv1=nn.Conv3d(3, 16, 3), conv2=nn.Conv3d(16, 32, 3), fc=nn.Linear(256, 5))


def attention_gate() -> nn.Module:
    gate = tree(fc1=bare(32, 2, 1), fc2=bare(2, 32, 1))
    return tree(conv1=bare(3, 32), bn1=bn(32), ca=gate, sa=tree(conv1=bare(2, 1, 7)), fc=nn.Linear(32, 10))


ZOO: Mapping[str, Callable[[], nn.Module]] = {
    **{
        maker.__name__: maker
        for maker in (
            char_rnn, char_gru, text_classifier, summing_rnn, seq2seq, word_lm, word_lm_untied, transformer_lm,
            translator, nano_gpt, llama_like, bert_like, vit_timm, text_cnn, text_cnn_1d, two_stems, two_streams,
            two_streams_bn, two_stems_of_two, mamba_like,
            dcgan_generator, dcgan_discriminator, dcgan_biased, gan_pair, equal_up, u_net, u_net_even,
            autoencoder, autoencoder_bare, autoencoder_nothing, linear_autoencoder, vae, conv_vae, vq_vae,
            alexnet_grouped, resnext, grouped_wider, resnet, bottleneck, vgg, mobilenet_v1, mobilenet_v2, mobilenet_v3,
            efficientnet_like, depthwise_multiplier, eeg_net, mini_xception, conv_next, dense_net, inception,
            squeeze_net, shuffle_net, le_net, siamese, espcn, vdsr, fsrcnn, cycle_gan, pix2pix, matrix_factorisation,
            matrix_factorisation_biased, collaborative, dlrm, skip_gram, actor_critic, atari, tcn, wave_net, hifi_gan,
            point_net, gcn, raw_mlp, speech_crnn, crnn, mlp_bare, mlp_norm, mixer, diffusion, conv_lstm, tagger,
            causal_cnn3d, attention_gate,
        )
    },
    "u_net_bn": lambda: u_net(bare),
    "vgg_bn": lambda: vgg(norm=True),
    "resnet_biased": lambda: resnet(bias=True),
}  # fmt: skip
"""Name to maker."""
