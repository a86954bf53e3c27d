"""Small networks that make pictures and sounds."""

from collections.abc import Callable

from torch import nn
from torch.nn.utils import parametrizations

from tests.sources.rules.zoo_parts import bare, bn, conv, tree, up, weight_normed

__all__ = ["GENERATORS"]

S = nn.Sequential


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


def fsrcnn() -> nn.Module:
    middle = S(conv(56, 12, 1), nn.PReLU(12), conv(12, 12), nn.PReLU(12), conv(12, 56, 1), nn.PReLU(56))
    return tree(first_part=S(conv(1, 56, 5), nn.PReLU(56)), mid_part=middle, last_part=up(56, 1, 9))


def espcn() -> nn.Module:
    return tree(conv1=conv(1, 64, 5), conv2=conv(64, 32), conv3=conv(32, 9))


def vdsr() -> nn.Module:
    return tree(residual_layer=S(*(tree(conv=bare(16, 16)) for _ in range(3))), input=bare(1, 16), output=bare(16, 1))


def hifi_gan() -> nn.Module:
    w = weight_normed
    ups = nn.ModuleList([w(nn.ConvTranspose1d(64, 32, 16, 8)), w(nn.ConvTranspose1d(32, 16, 4, 2))])
    blocks = nn.ModuleList([tree(convs1=nn.ModuleList([w(nn.Conv1d(n, n, 3))])) for n in (32, 16)])
    return tree(conv_pre=w(nn.Conv1d(80, 64, 7)), ups=ups, resblocks=blocks,
                conv_post=parametrizations.weight_norm(nn.Conv1d(16, 1, 7)))  # fmt: skip


GENERATORS: dict[str, Callable[[], nn.Module]] = {
    maker.__name__: maker
    for maker in (
        dcgan_generator,
        dcgan_discriminator,
        dcgan_biased,
        gan_pair,
        equal_up,
        u_net,
        u_net_even,
        autoencoder,
        autoencoder_bare,
        autoencoder_nothing,
        linear_autoencoder,
        vae,
        conv_vae,
        vq_vae,
        cycle_gan,
        pix2pix,
        diffusion,
        fsrcnn,
        espcn,
        vdsr,
        hifi_gan,
    )
}
"""Name to maker."""
GENERATORS["u_net_bn"] = lambda: u_net(bare)
