//! What a job worker can rely on in an engine: one list of behaviours, run against the sandbox always, and against
//! the engine at `ZEEBE_ADDRESS` when ignored tests are included. Where the two differ, the real engine is right.
//!
//! Seen on real engines, but not in this list:
//! - Local variables survive a kill of the broker: the sandbox keeps nothing; tests that kill a broker of their own
//!   have it.
//! - Backpressure (RESOURCE_EXHAUSTED when hundreds of commands are in flight): a matter of the machine's speed.
//! - `too_many_pings`: the sandbox's HTTP/2 server does not count pings, and a quarter of a minute is too long here.
//! - Tokens of an identity provider: tests with a real one have them.
//! - Task listener jobs: deskhand takes no such jobs, and the sandbox makes none.
//! - Parked polls that starve after a broker's restart: seen once, cause unknown; nothing to agree on.

#![allow(clippy::unwrap_used)] // in helpers, too, a failed call fails the test

#[path = "engine_contract/activation.rs"]
mod activation;
#[path = "engine_contract/commands.rs"]
mod commands;
#[path = "engine_contract/incidents.rs"]
mod incidents;
#[path = "engine_contract/leases.rs"]
mod leases;
#[path = "engine_contract/limits.rs"]
mod limits;
#[path = "engine_contract/messages.rs"]
mod messages;
#[path = "engine_contract/process.rs"]
mod process;
#[path = "engine_contract/processes.rs"]
mod processes;
#[path = "engine_contract/subject.rs"]
mod subject;
#[path = "engine_contract/variables.rs"]
mod variables;

/// Each behaviour becomes a test on the sandbox and an ignored one on the engine that the environment names.
macro_rules! contract {
    ($($room:ident { $($behaviour:ident)* })*) => {
        mod sandbox {
            $($(
                #[tokio::test]
                async fn $behaviour() {
                    crate::$room::$behaviour(crate::subject::Subject::sandbox().await).await;
                }
            )*)*
        }

        mod engine {
            $($(
                #[tokio::test]
                #[ignore = "needs a real engine: set ZEEBE_ADDRESS"]
                async fn $behaviour() {
                    crate::$room::$behaviour(crate::subject::Subject::real().await).await;
                }
            )*)*
        }
    };
}

contract! {
    activation {
        a_stream_gets_a_new_job_pushed_with_everything_about_it
        no_response_headers_are_sent_before_the_first_pushed_job
        no_response_headers_are_sent_while_a_poll_is_parked
        a_job_that_waited_before_the_stream_opened_is_left_to_polls
        jobs_of_equal_streams_reach_either_client
        a_job_goes_to_polls_once_its_stream_is_closed
        a_blocked_stream_gives_its_jobs_back_to_polls
        a_poll_that_is_not_parked_answers_at_once
        a_parked_poll_ends_empty_when_its_time_is_over
        a_parked_poll_gets_a_new_job
        a_poll_takes_the_oldest_jobs_and_no_more_than_it_asked_for
        only_the_fetched_variables_are_sent
        headers_without_a_value_are_dropped
        bad_activations_are_refused_at_once
        the_topology_names_a_healthy_leader
    }
    commands {
        a_lapsed_job_is_pushed_again_by_old_engines_and_left_to_polls_by_new_ones
        a_lapsed_job_is_polled_again
        a_parked_poll_gets_a_lapsed_job
        a_lapsed_job_cannot_be_extended_but_can_still_be_completed
        a_lapsed_job_can_still_be_failed
        a_stale_worker_is_not_fenced_off
        a_longer_timeout_keeps_the_job_and_a_shorter_one_frees_it
        a_failed_job_with_retries_is_pushed_again_at_once
        a_failed_job_with_a_backoff_is_pushed_after_it
        a_job_in_its_backoff_accepts_no_outcome
        an_unknown_job_is_not_found
        a_completed_job_is_not_found
        a_cancelled_instance_leaves_nothing_behind
        setting_no_variable_tells_whether_an_element_is_there_and_changes_nothing
        retries_must_be_positive
    }
    incidents {
        a_job_without_retries_waits_for_its_incident_to_be_resolved
        an_uncaught_error_stops_the_job
        a_gateway_without_a_way_out_waits_for_a_person
        a_mapping_that_fails_is_tried_again
        an_unknown_incident_is_not_found
        an_incident_is_not_resolved_while_its_job_has_no_retries
    }
    leases {
        a_lease_token_means_nothing_on_a_job_without_a_lease
        a_lease_fences_off_whoever_lacks_it
    }
    limits {
        a_completion_that_is_too_large_leaves_the_job_usable
        variables_that_are_no_object_are_refused
        a_long_error_message_is_accepted
    }
    messages {
        a_message_reaches_the_instance_that_waits_for_it
        a_message_waits_for_its_instance_while_it_lives
        a_message_without_time_to_live_is_gone
        a_message_id_is_unique_while_the_message_lives
        a_message_id_is_kept_when_the_message_has_reached_its_instance
        a_message_interrupts_a_task
        a_boundary_message_is_looked_up_from_around_its_task
    }
    processes {
        the_same_file_makes_no_new_version
        broken_files_are_refused
        an_unknown_process_is_not_found
        an_unknown_instance_cannot_be_cancelled
        a_result_that_takes_too_long_ends_the_wait
        a_result_holds_the_fetched_variables_only
        a_caught_error_takes_the_boundary_event
        variables_of_an_error_leave_by_output_mappings
        an_error_leaves_its_subprocess
        an_exact_error_code_comes_before_catching_all
        a_gateway_takes_the_last_true_condition_of_the_file_or_the_default
        parallel_ways_are_joined
        a_timer_delays_the_process
        a_timer_interrupts_a_task
        a_timer_starts_a_second_way
        a_boundary_timer_sees_the_inputs_of_its_task
        a_terminate_end_takes_every_token
        an_error_end_is_caught_around_its_subprocess
    }
    variables {
        local_variables_are_seen_again_after_a_lapse_and_retries_stay
        local_variables_are_seen_again_after_a_failure
        local_variables_end_with_their_task
        variables_of_a_failure_stay_local
        variables_set_from_outside_are_merged_upwards
        a_completion_updates_a_local_variable_of_the_same_name
        inputs_are_local_and_outputs_are_all_that_leaves
        inputs_are_nested_and_see_those_before_them
        nested_outputs_are_added_to_what_is_there
        a_static_text_stays_a_text
        a_missing_variable_is_null
        a_subprocess_hides_its_own_variables
    }
}
