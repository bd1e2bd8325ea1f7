# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# runs in a virtual environment of its own, which has these packages
"""A coding agent made with the deepagents library, on the model that the OPENAI_ variables name."""

import asyncio
import os

from acp import run_agent
from deepagents import create_deep_agent
from deepagents.backends import FilesystemBackend
from deepagents_acp.server import AgentServerACP
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import MemorySaver

MEMORY = MemorySaver()


def make_agent(context):
    return create_deep_agent(
        model=ChatOpenAI(model=os.environ["OPENAI_MODEL"]),
        backend=FilesystemBackend(root_dir=context.cwd, virtual_mode=False),
        checkpointer=MEMORY,
        interrupt_on={"write_file": True},
    )


asyncio.run(run_agent(AgentServerACP(agent=make_agent)))
