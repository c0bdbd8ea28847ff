#!/usr/bin/env bash
# qdrant-client 1.20.0, local mode. Seen on 2026-11-30.
# Expected: fusing one list with itself keeps its order, whatever the distance; a threshold on scores cuts off the worse end of the list that the query returns.
# Happens: with Euclid and Manhattan, where small is near, DBSF fusion takes distances for scores and returns the farthest of each list first. On the list of recommend's sum_scores and
#   best_score, where large is better, score_threshold takes scores for distances: a threshold that five pass leaves none. RRF is right, and so is all with Cosine and Dot.
# Matters: a hybrid search of image and text features by Euclidean distance puts the worst of its candidates first; with the usual cosine in the tests nobody sees it.
# Source: qdrant_client/hybrid/fusion.py; github.com/qdrant/qdrant/issues/10611 (the server 1.19.0 does so too) and github.com/qdrant/qdrant-client/issues/1378, both open.
. "$(dirname "$0")/common.sh"
python_packages qdrant-client==1.20.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import math
from qdrant_client import QdrantClient, models as m
client = QdrantClient(":memory:")
def report(distance, vectors, query):
    client.create_collection(distance, vectors_config=m.VectorParams(size=2, distance=m.Distance(distance)))
    client.upsert(distance, [m.PointStruct(id=i + 1, vector=vector) for i, vector in enumerate(vectors)])
    def ids(**arguments): return [point.id for point in client.query_points(distance, limit=5, **arguments).points]
    def fused(method): return ids(prefetch=[m.Prefetch(query=query, limit=5)] * 2, query=m.FusionQuery(fusion=method))
    print(f"{distance}: nearest {ids(query=query)}, fused by RRF {fused(m.Fusion.RRF)}, by DBSF {fused(m.Fusion.DBSF)}")
    recommend = m.RecommendQuery(recommend=m.RecommendInput(positive=[2], negative=[9], strategy=m.RecommendStrategy.SUM_SCORES))
    points = client.query_points(distance, query=recommend, limit=5).points
    print(f"  sum_scores {[(point.id, round(point.score, 2)) for point in points]}, from -10 on {ids(query=recommend, score_threshold=-10)}")
line = [[float(i), 0.0] for i in range(1, 11)]
report("Cosine", [[math.cos(i / 10), math.sin(i / 10)] for i in range(1, 11)], [1.0, 0.0])
report("Euclid", line, [0.0, 0.0])
report("Manhattan", line, [0.0, 0.0])
E
observe python "$tmp/program.py"
verdict <<'E'
Cosine: nearest [1, 2, 3, 4, 5], fused by RRF [1, 2, 3, 4, 5], by DBSF [1, 2, 3, 4, 5]
  sum_scores [(1, 0.3), (3, 0.17), (4, 0.1), (5, 0.03), (6, -0.03)], from -10 on [1, 3, 4, 5, 6]
Euclid: nearest [1, 2, 3, 4, 5], fused by RRF [1, 2, 3, 4, 5], by DBSF [5, 4, 3, 2, 1]
  sum_scores [(1, 63.0), (3, 35.0), (4, 21.0), (5, 7.0), (6, -7.0)], from -10 on []
Manhattan: nearest [1, 2, 3, 4, 5], fused by RRF [1, 2, 3, 4, 5], by DBSF [5, 4, 3, 2, 1]
  sum_scores [(1, 7.0), (3, 5.0), (4, 3.0), (5, 1.0), (6, -1.0)], from -10 on []
E
