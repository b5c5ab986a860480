"""Vectors in many dimensions as points on a page, and a number that keeps the picture honest."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def principal_components(vectors: Vectors) -> tuple[Vectors, tuple[float, float]]:
    """The two directions of largest variance: points `[n, 2]` and the share each explains.

    Linear: distances on the page are never larger than the true ones.
    """
    from sklearn.decomposition import PCA

    if len(vectors) < 2 or not np.ptp(vectors, axis=0).any():
        return np.zeros((len(vectors), 2), dtype=np.float32), (0.0, 0.0)
    # Full decomposition: the randomised one of large inputs would differ from run to run.
    pca = PCA(n_components=min(2, *vectors.shape), svd_solver="full")
    points = pca.fit_transform(vectors.astype(np.float64))
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    shares = [*pca.explained_variance_ratio_, 0.0]
    return points.astype(np.float32), (float(shares[0]), float(shares[1]))


def neighbourhoods(vectors: Vectors, seed: int) -> Vectors:
    """t-SNE (van der Maaten and Hinton 2008) on cosine distances: points `[n, 2]`.

    Near points stay near; distances between clusters, and their sizes, mean nothing. Starts from
    the principal components. Runs on one thread: sums of several are added in any order, and the
    descent turns the last bit of a sum into another picture.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if len(vectors) < 5:
        return principal_components(vectors)[0]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)  # Euclidean distance then orders as cosine does
    start = principal_components(unit)[0]
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    tsne = TSNE(
        perplexity=min(30.0, (len(vectors) - 1) / 3),
        init=start,
        max_iter=500,  # twice as many move the points little and take twice as long
        random_state=seed,
        n_jobs=1,
    )
    with threadpool_limits(limits=1):
        return np.asarray(tsne.fit_transform(unit), dtype=np.float32)


def neighbour_agreement(
    vectors: Vectors, labels: NDArray[np.generic], neighbours: int = 10
) -> float:
    """Share of the `neighbours` nearest rows (cosine, all dimensions) that have the row's label.

    What a projection seems to show can be an artefact of squeezing hundreds of dimensions into
    two; this is measured before the squeezing.
    """
    from sklearn.neighbors import NearestNeighbors

    count = min(neighbours, len(vectors) - 1)
    if count < 1:
        return float("nan")
    search = NearestNeighbors(n_neighbors=count, metric="cosine").fit(vectors)
    nearest = search.kneighbors(return_distance=False)  # without the row itself
    return float((labels[nearest] == labels[:, None]).mean())
