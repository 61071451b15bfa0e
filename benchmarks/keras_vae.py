"""The thread's Keras model, of any regularisation, and a process that trains it.

    KERAS_BACKEND=tensorflow python benchmarks/keras_vae.py X.npy 32

builds P2 for the signals (n, t) in the file and trains it, in batches of 32, for as
many epochs as each line of its input says. It answers with the times at which they
ended.
"""

import json
import os
import sys
import time


def keras_vae(
    n_timepoints,
    seed,
    weight=10.0,
    dropout=0.0,
    hidden_dropout=0.3,
    batch_norm=False,
    output_kernel_size=8,
):
    """The VAE as a Keras user writes it, K1 by default; its input is (n, t, 1).

    Compiled, for the loss weight * SSE + KL.
    """
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    from keras import layers, ops

    keras.utils.set_random_seed(seed)

    def regularise(h, rate):
        if batch_norm:
            h = layers.BatchNormalization()(h)
        return layers.Dropout(rate)(h) if rate else h

    x = h = keras.Input((n_timepoints, 1))
    lengths = []
    for filters in (16, 16, 32, 32):
        lengths.append(h.shape[1])
        h = layers.Conv1D(filters, 8, strides=2, padding="same", activation="relu")(h)
        h = regularise(h, dropout)
    start = h.shape[1:]
    h = layers.Dense(64, activation="relu")(layers.Flatten()(h))
    h = layers.Dense(16, activation="relu")(regularise(h, hidden_dropout))
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])

    z = keras.Input((2,))
    h = layers.Dense(start[0] * start[1], activation="relu")(z)
    h = layers.Reshape(start)(h)
    for filters, length in zip((32, 32, 16, 16), reversed(lengths), strict=True):
        h = layers.Conv1DTranspose(
            filters, 8, strides=2, padding="same", activation="relu"
        )(h)
        h = layers.Cropping1D((0, h.shape[1] - length))(h)
        h = regularise(h, 0.0)
    x_hat = layers.Conv1DTranspose(
        1, output_kernel_size, padding="same", activation="sigmoid"
    )(h)
    decoder = keras.Model(z, x_hat)

    def reconstruction_loss(x, x_hat):
        return weight * ops.sum(ops.square(x - x_hat), axis=(1, 2))

    class VAE(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = encoder, decoder
            self.seed_generator = keras.random.SeedGenerator()

        def call(self, x):
            z_mean, z_log_var = self.encoder(x)
            self.add_loss(ops.mean(self.kl(z_mean, z_log_var)))
            noise = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
            return self.decoder(z_mean + ops.exp(0.5 * z_log_var) * noise)

        @staticmethod
        def kl(z_mean, z_log_var):
            terms = 1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var)
            return -0.5 * ops.sum(terms, axis=1)

    vae = VAE()
    vae.compile(keras.optimizers.Adam(1e-3), reconstruction_loss)
    return vae


def keras_p2(n_timepoints, seed=0):
    return keras_vae(
        n_timepoints,
        seed,
        weight=100.0,
        dropout=0.3,
        hidden_dropout=0.5,
        batch_norm=True,
        output_kernel_size=7,
    )


def serve(path, batch_size):
    import numpy as np
    from keras.callbacks import LambdaCallback

    X = np.load(path)[:, :, None]
    vae = keras_p2(X.shape[1])
    for line in sys.stdin:
        times = []
        clock = LambdaCallback(
            on_epoch_end=lambda *_, times=times: times.append(time.perf_counter())
        )
        vae.fit(X, X, batch_size, int(line), verbose=0, callbacks=[clock])
        print(json.dumps({"times": times}), flush=True)


if __name__ == "__main__":
    try:
        serve(sys.argv[1], int(sys.argv[2]))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
