// SPDX-License-Identifier: Apache-2.0

#pragma once

// Say what is wrong, and exit with 1.
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);
