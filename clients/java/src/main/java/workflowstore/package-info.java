/**
 * What the generated client of {@code workflowstore.v1} lacks: the channel as it should be
 * configured, errors with fields, and JSON that keeps every digit.
 */
package workflowstore;
