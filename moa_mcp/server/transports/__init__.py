"""How clients reach the server: stdin and stdout, Streamable HTTP, SSE. What is served is the same on each."""
