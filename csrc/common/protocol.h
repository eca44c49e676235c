/* What pyrunc-init and the runtime say to each other, over a SOCK_SEQPACKET pair and, after create,
 * over the start socket. One packet is one message. pyrunc/container/channel.py reads and writes
 * the same layout. */
#ifndef PYRUNC_PROTOCOL_H
#define PYRUNC_PROTOCOL_H

#include <stdint.h>

enum message_type {
	MESSAGE_SYNC = 1, /* operation `operation` waits for the runtime; may carry a descriptor */
	MESSAGE_CLONED = 2, /* the init goes on in the process `value`; carries its pidfd */
	MESSAGE_READY = 3,  /* all is set up; the init waits to be committed, then for start */
	MESSAGE_ERROR = 4,  /* operation `operation` failed: `call`, `error`, `detail` */
};

#define DETAIL_MAX 1024
#define NO_OPERATION 0xffffffffu /* it failed before the plan */

struct message {
	uint32_t type;
	uint32_t operation;
	int32_t error;
	uint32_t value;
	char call[24];
	char detail[DETAIL_MAX]; /* sent up to its NUL */
};

/* The plan comes as one packet: 'P', then a byte for each descriptor that comes with it:
 * PLAN_ITSELF for the plan, which is to be mapped, or the slot that it is to fill. */
#define PLAN_HEAD 'P'
#define PLAN_ITSELF 0xff
#define PLAN_FDS_MAX 8

/* The runtime's answer is one byte followed by the container's state (JSON), possibly empty. */
#define REPLY_GO 'G'
#define REPLY_MAX (256 * 1024)

/* Exit codes of pyrunc-init, seen only when it could not say more. */
#define EXIT_ABORTED 125
#define EXIT_CANNOT_EXECUTE 126

#endif
