"""t-SNE beside scikit-learn's exact one: as good a picture by the divergence that both lower, and the same neighbours."""
import torch
from sklearn.manifold import TSNE, trustworthiness

from probe import FAILURES, finish, judge, probe

torch.manual_seed(0)
centres = 3 * torch.randn(6, 32)
features = torch.cat([centre + torch.randn(40, 32) for centre in centres])
theirs = TSNE(method="exact", init="pca", perplexity=30, max_iter=1000, random_state=0).fit(features.numpy())
ours = probe("tsne", {"features": features})
judge("divergence", abs(float(ours["divergence"]) - theirs.kl_divergence_) / theirs.kl_divergence_, 0.03)
kept = [trustworthiness(features.numpy(), places, n_neighbors=10) for places in (ours["places"].numpy(), theirs.embedding_)]
print(f"trustworthiness: ours {kept[0]:.4f}, scikit-learn's {kept[1]:.4f}")
if kept[0] < kept[1] - 0.01:
    FAILURES.append("trustworthiness")
finish()
