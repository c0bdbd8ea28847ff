#pragma once
#include "phases.h"
#include "syncdr/evaluation/phase_calls.h"

/// What calls of phases take: a file calls/*.json of the run's folder for each that did something, for the report.
namespace syncdr::app {

std::filesystem::path calls_folder(const Job& job);
/// A call that ends now, by this job's ranks. subject: may be empty.
evaluation::PhaseCall call_of(const Job& job, const std::string& phase, const std::string& subject, double seconds, int64_t images);
/// Runs a phase for a subject, as Phase::run, and notes what it took; also where it was stopped on request. Called by all ranks.
boost::json::object run_noted(Job& job, const Phase& phase, const std::string& subject);

}  // namespace syncdr::app
