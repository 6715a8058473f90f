// See context.h: nothing of this header is named by what we include.
#pragma once
