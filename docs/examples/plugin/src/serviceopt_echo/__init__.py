"""A service that answers what it is asked, a client that measures it, and what is known about both beforehand."""
