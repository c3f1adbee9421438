// Debian's libseccomp-dev.
#include <seccomp.h>
