"""All uses of private parts of mcp (`sessions`) and uvicorn (`connections`).

Tested with mcp 2.3.0 and with uvicorn 0.31.1, 0.35.0, 0.40.0, 0.46.0 and 0.54.0 on h11 0.16.0. Neither package
promises to keep these parts, so pyproject.toml has an upper version bound for both, tests/server/test_sdk_compat.py
checks that they still exist, and tests/architecture.py forbids them outside this package. Each is here because there
is no public way:

- `ServerSession._connection`: to detect that a client has disconnected.
- `StreamableHTTPSessionManager._server_instances`, `._session_owners`: to count the sessions of one owner.
- `uvicorn.protocols.http.h11_impl`: to limit the number of connections that wait for a request, and their time.
  uvicorn closes an idle connection, but not one that sends a byte now and then.
"""
