/*
 * What the compiler calls for assignments and initializers of structures, also without a C library; which of them depends on
 * the processor. The counters are volatile, or these would be made calls of themselves.
 */
void *memcpy(void *to, const void *from, unsigned long count)
{
	for (volatile unsigned long i = 0; i < count; i++)
		((char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int value, unsigned long count)
{
	for (volatile unsigned long i = 0; i < count; i++)
		((char *)to)[i] = (char)value;
	return to;
}
