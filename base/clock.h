/* base/clock.h: the two clocks. Boot time orders and measures: it never steps and goes on while the machine sleeps, so
 * a lease cannot outlive a suspend. Wall time only feeds versions and people. Never in policy/ or replication/. */
#ifndef DOMICILE_BASE_CLOCK_H
#define DOMICILE_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_boot_ns(void); /* CLOCK_BOOTTIME */
uint64_t clock_wall_us(void); /* CLOCK_REALTIME, since 1970 */

#endif
