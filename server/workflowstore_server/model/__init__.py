"""The words of the domain: values, limits and failures. No I/O, and no library beyond the standard one."""
