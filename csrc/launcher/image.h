// SPDX-License-Identifier: Apache-2.0
//
// An executable that holds its interpreter as it is after it has been initialised and has imported
// the modules that every command needs (docs/design.md, "The image").

#pragma once

#include <stdbool.h>

// Whether this executable is such an image.
bool image_is_made(void);

// Have all that the interpreter allocates from now on be part of the image.
void image_record(void);

// Write this executable with its present memory to `path`. No code of Python may be running. Exits
// if that cannot be done.
void image_write(const char *path);
