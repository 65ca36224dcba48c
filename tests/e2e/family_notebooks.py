"""Notebooks for the bundles of the reference family: small programs that need what a bundle is for.

Each prints one line, which is known beforehand. None uses the network.
"""

import json

# Bundles whose images all have CUDA.
ON_CUDA = {"pytorch", "tensorflow.gpu"}

# Trains something small; `before` and `after` are the losses.
TENSORFLOW = [
    "import keras, numpy as np, tensorflow as tf",
    "keras.utils.set_random_seed(1)\n"
    "x = np.linspace(-1, 1, 64, dtype='float32').reshape(-1, 1)\n"
    "model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])\n"
    "model.compile(optimizer=keras.optimizers.SGD(0.1), loss='mse')\n"
    "before = model.evaluate(x, 2 * x, verbose=0)\n"
    "model.fit(x, 2 * x, epochs=1, batch_size=8, verbose=0)\n"
    "after = model.evaluate(x, 2 * x, verbose=0)",
]

# For each bundle: the program, one string for each cell, and what the last cell prints.
PROGRAMS = {
    "minimal": (["print(sum(range(1000)))"], "499500"),
    "datascience": (
        [
            "import numpy as np, pandas as pd, matplotlib.pyplot as plt\n"
            "from sklearn.linear_model import LinearRegression",
            "table = pd.DataFrame({'x': np.arange(5.0)}).assign(y=lambda it: 3 * it.x + 1)\n"
            "table.plot(x='x', y='y');",
            "model = LinearRegression().fit(table[['x']], table.y)\n"
            "print(round(float(model.coef_[0]), 6), round(float(model.intercept_), 6))",
        ],
        "3.0 1.0",
    ),
    "machinelearning": (
        [
            "import numpy as np, catboost, lightgbm, optuna, xgboost\n"
            "import statsmodels.api as sm\n"
            "from imblearn.over_sampling import RandomOverSampler",
            "x = np.linspace(0, 1, 200).reshape(-1, 1)\n"
            "y = (x[:, 0] > 0.5).astype(int)\n"
            "models = [\n"
            "    catboost.CatBoostClassifier(iterations=5, verbose=False, allow_writing_files=False),\n"
            "    lightgbm.LGBMClassifier(n_estimators=5, verbose=-1),\n"
            "    xgboost.XGBClassifier(n_estimators=5),\n"
            "]\n"
            "right = [bool((it.fit(x, y).predict(x).ravel() == y).mean() > 0.95) for it in models]",
            "_, balanced = RandomOverSampler(random_state=0).fit_resample(x[:150], y[:150])\n"
            "right.append(balanced.sum() * 2 == len(balanced))\n"
            "line = sm.OLS(3 * x[:, 0] + 1, sm.add_constant(x)).fit().params\n"
            "right.append(bool(np.allclose(line, [1, 3])))\n"
            "optuna.logging.set_verbosity(optuna.logging.ERROR)\n"
            "study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))\n"
            "study.optimize(lambda it: (it.suggest_float('x', -1, 1)) ** 2, n_trials=20)\n"
            "right.append(study.best_value < 0.1)",
            "print(all(right), len(right))",
        ],
        "True 6",
    ),
    "geomatics": (
        [
            "import cartopy.crs, contextily, folium, geopandas, numpy as np, rasterio, rioxarray, xarray\n"
            "import matplotlib.pyplot as plt\n"
            "from pyproj import Transformer\n"
            "from rasterio.transform import from_origin\n"
            "from rtree.index import Index\n"
            "from shapely.geometry import Point",
            # Null Island in UTM zone 31N lies 500 km minus what three degrees are west of its meridian.
            "east, north = Transformer.from_crs(4326, 32631, always_xy=True).transform(3, 0)",
            "places = geopandas.GeoDataFrame(geometry=[Point(3, 0), Point(4, 1)], crs=4326).to_crs(32631)\n"
            "places.to_file('/tmp/places.gpkg')\n"
            "again = geopandas.read_file('/tmp/places.gpkg')\n"
            "folium.GeoJson(again.to_crs(4326)).add_to(folium.Map())\n"
            "again.plot();",
            "raster = {'driver': 'GTiff', 'width': 4, 'height': 4, 'count': 1, 'dtype': 'float32'}\n"
            "where = {'crs': 'EPSG:32631', 'transform': from_origin(500000, 40, 10, 10)}\n"
            "with rasterio.open('/tmp/raster.tif', 'w', **raster, **where) as file:\n"
            "    file.write(np.ones((1, 4, 4), 'float32'))\n"
            "total = float(rioxarray.open_rasterio('/tmp/raster.tif').rio.reproject(4326, nodata=0).max())",
            "figure = plt.figure()\n"
            "axes = figure.add_subplot(projection=cartopy.crs.Mollweide())\n"
            "axes.gridlines()\n"
            "figure.canvas.draw()\n"
            "index = Index()\n"
            "index.insert(7, (0, 0, 1, 1))",
            "print(round(east), round(north), len(again), total, list(index.intersection((0, 0, 2, 2))))",
        ],
        "500000 0 2 1.0 [7]",
    ),
    "langchain": (
        [
            "import faiss, chromadb, langchain, langchain_ollama, langchain_openai, langgraph\n"
            "from langchain_community.vectorstores import FAISS\n"
            "from langchain_core.embeddings import DeterministicFakeEmbedding\n"
            "from langchain_core.language_models import FakeListChatModel\n"
            "from langchain_core.output_parsers import StrOutputParser\n"
            "from langchain_core.prompts import ChatPromptTemplate\n"
            "from langchain_text_splitters import CharacterTextSplitter",
            "splitter = CharacterTextSplitter(separator=' ', chunk_size=5, chunk_overlap=0)\n"
            "words = splitter.split_text('fire clay kiln')\n"
            "known = FAISS.from_texts(words, DeterministicFakeEmbedding(size=16))\n"
            "found = known.similarity_search('kiln', k=1)[0].page_content",
            "prompt = ChatPromptTemplate.from_messages([('human', 'What is a {thing}?')])\n"
            "chain = prompt | FakeListChatModel(responses=['an oven']) | StrOutputParser()",
            "print(found, '=', chain.invoke({'thing': found}))",
        ],
        "kiln = an oven",
    ),
    "langflow": (
        [
            "from lfx.components.input_output import ChatInput, ChatOutput\n"
            "from lfx.components.models_and_agents import PromptComponent\n"
            "from lfx.graph import Graph",
            "asked = ChatInput(_id='asked')\n"
            "asked.set(input_value='a kiln', should_store_message=False)\n"
            "prompt = PromptComponent(_id='prompt')\n"
            "prompt.set(template='What is {thing}?', thing=asked.message_response)\n"
            "said = ChatOutput(_id='said')\n"
            "said.set(input_value=prompt.build_prompt, should_store_message=False)",
            "steps = list(Graph(asked, said).start())",
            "print([it.vertex.id for it in steps[:-1]], steps[-2].vertex.results['message'].text)",
        ],
        "['asked', 'prompt', 'said'] What is a kiln?",
    ),
    "tensorflow": (
        [
            *TENSORFLOW,
            "print(after < before, tf.reduce_sum(tf.constant([[1, 2], [3, 4]])).numpy())",
        ],
        "True 10",
    ),
    "tensorflow.gpu": (
        [
            *TENSORFLOW,
            # What TensorFlow loads when it finds a GPU.
            "import ctypes\n"
            "cuda = tf.sysconfig.get_build_info()\n"
            "major = cuda['cuda_version'].partition('.')[0]\n"
            "for name in ['cudart', 'cublas', 'cublasLt', 'cusparse']:\n"
            "    ctypes.CDLL(f'lib{name}.so.{major}')\n"
            "ctypes.CDLL(f\"libcudnn.so.{cuda['cudnn_version']}\")",
            "print(after < before, tf.test.is_built_with_cuda(), tf.config.list_physical_devices('GPU'))",
        ],
        "True True []",
    ),
    "pytorch": (
        [
            "import torch, torchvision",
            "torch.manual_seed(1)\n"
            "x = torch.linspace(-1, 1, 64).reshape(-1, 1)\n"
            "model = torch.nn.Linear(1, 1)\n"
            "loss = lambda: torch.nn.functional.mse_loss(model(x), 2 * x)\n"
            "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
            "before = loss().item()\n"
            "for _ in range(8):\n"
            "    optimizer.zero_grad()\n"
            "    loss().backward()\n"
            "    optimizer.step()",
            # TorchVision's own compiled operators.
            "boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5], [8, 8, 9, 9]])\n"
            "kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()",
            "print(loss().item() < before, kept, torch.version.cuda.partition('.')[0], torch.cuda.is_available())",
        ],
        "True [0, 2] 13 False",
    ),
    "spark": (
        [
            "from pyspark.sql import SparkSession, functions as f\n"
            "session = (\n"
            "    SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')\n"
            "    .config('spark.sql.shuffle.partitions', '1').getOrCreate()\n"
            ")",
            "table = session.range(10).withColumn('kind', f.col('id') % 2)\n"
            "sums = table.groupBy('kind').agg(f.sum('id').alias('sum')).orderBy('kind').collect()\n"
            # A function in Python: the worker processes must find this very Python.
            "square = f.udf(lambda it: it * it, 'long')\n"
            "squares = [row[0] for row in session.range(4).select(square('id')).collect()]\n"
            "pandas = table.toPandas().shape\n"
            "session.stop()",
            "print([row['sum'] for row in sums], squares, pandas)",
        ],
        "[20, 25] [0, 1, 4, 9] (10, 2)",
    ),
    "r": (
        [
            "library(dplyr); library(ggplot2); library(tidyr); library(readr); library(data.table)",
            "table <- tibble::tibble(x = 1:10, y = 2 * x + 1)\n"
            "picture <- ggplot(table, aes(x, y)) + geom_point()\n"
            "ggsave(file.path(tempdir(), 'plot.png'), picture, width = 3, height = 3)",
            "fit <- coef(lm(y ~ x, table))\n"
            "cat(sprintf('%.3f %.3f %d', fit[1], fit[2], nrow(filter(table, x > 5))))",
        ],
        "1.000 2.000 5",
    ),
    "optapy": (
        [
            "from dataclasses import dataclass, field\n"
            "from typing import Annotated\n"
            "from timefold.solver import SolverFactory\n"
            "from timefold.solver.config import Duration, ScoreDirectorFactoryConfig\n"
            "from timefold.solver.config import SolverConfig, TerminationConfig\n"
            "from timefold.solver.domain import *\n"
            "from timefold.solver.score import HardSoftScore, Joiners, constraint_provider",
            "@dataclass\n"
            "class Oven:\n"
            "    name: str\n\n"
            "@planning_entity\n"
            "@dataclass\n"
            "class Load:\n"
            "    id: Annotated[int, PlanningId]\n"
            "    oven: Annotated[Oven | None, PlanningVariable] = field(default=None)\n\n"
            "@planning_solution\n"
            "@dataclass\n"
            "class Plan:\n"
            "    ovens: Annotated[list[Oven], ProblemFactCollectionProperty, ValueRangeProvider]\n"
            "    loads: Annotated[list[Load], PlanningEntityCollectionProperty]\n"
            "    score: Annotated[HardSoftScore | None, PlanningScore] = field(default=None)\n\n"
            "@constraint_provider\n"
            "def rules(factory):\n"
            "    pairs = factory.for_each_unique_pair(Load, Joiners.equal(lambda it: it.oven.name))\n"
            "    return [pairs.penalize(HardSoftScore.ONE_HARD).as_constraint('one load an oven')]",
            "config = SolverConfig(\n"
            "    solution_class=Plan,\n"
            "    entity_class_list=[Load],\n"
            "    score_director_factory_config=ScoreDirectorFactoryConfig(constraint_provider_function=rules),\n"
            "    termination_config=TerminationConfig(\n"
            "        best_score_limit='0hard/0soft', spent_limit=Duration(seconds=60)\n"
            "    ),\n"
            ")\n"
            "problem = Plan([Oven(it) for it in 'abc'], [Load(it) for it in range(3)])\n"
            "plan = SolverFactory.create(config).build_solver().solve(problem)",
            "print(plan.score, sorted(it.oven.name for it in plan.loads))",
        ],
        "0hard/0soft ['a', 'b', 'c']",
    ),
}

# Modules that need something which their project does not bring, and what they say then.
NEED_MORE = {
    # IPython's plots, for whoever has Matplotlib.
    "matplotlib_inline": "No module named 'matplotlib'",
    # Types of Java classes, which are there once a JVM runs.
    "org": "No module named 'org'",
    # DuckDB's driver for ADBC, for whoever has ADBC.
    "adbc_driver_duckdb": "No module named 'adbc_driver_manager'",
    # No module: boto3-stubs lists a directory of its own build.
    "dist": "No module named 'dist'",
}

# Distributions that hold no public module: they bring others, or programs, or libraries, or types, or what begins with
# `_`.
WITHOUT_MODULES = {
    "argon2-cffi-bindings",
    "botocore-stubs",
    "cuda-toolkit",
    "nvidia-cusparselt-cu13",
    "types-requests",
    "types-s3transfer",
}


def script(bundle):
    """The program of a bundle as one file."""
    return "\n".join(PROGRAMS[bundle][0]) + "\n"


def document(bundle):
    """The notebook of a bundle, as JSON."""
    cells, _ = PROGRAMS[bundle]
    kernel = ("ir", "R", "R") if bundle == "r" else ("python3", "Python 3", "python")
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": None,
                    "id": f"cell-{number}",
                    "metadata": {},
                    "outputs": [],
                    "source": source,
                }
                for number, source in enumerate(cells)
            ],
            "metadata": {
                "kernelspec": {"name": kernel[0], "display_name": kernel[1], "language": kernel[2]}
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


def printed(text):
    """What the last cell of a notebook that was run has printed."""
    outputs = json.loads(text)["cells"][-1]["outputs"]
    # A text may be one string or a list of lines.
    return "".join("".join(it["text"]) for it in outputs if it.get("name") == "stdout").strip()
