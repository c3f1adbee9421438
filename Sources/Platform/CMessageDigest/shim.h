// Debian's libmd-dev.
#include <sha2.h>
