#pragma once

// The precompiled header of all tests. Sources still include what they use.
#include "framework/src/pch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
