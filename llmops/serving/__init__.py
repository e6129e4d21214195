"""Serves: the gateway that clients reach, the engines that answer and the runtimes that keep them up."""
