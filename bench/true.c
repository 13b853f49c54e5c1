/* What a shell calls true. */
int main(void) { return 0; }
