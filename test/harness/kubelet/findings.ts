/** What crib did not do for the kubelet, beside what tests wanted it not to do. */
export function complaintsOf(kubeletLog: string): readonly string[] {
  const expected = [
    // While it was killed, and what the kubelet was asking when it ended.
    /code = Unavailable/,
    /code = Canceled/,
    // A container that has been removed between two questions.
    /"ContainerStatus from runtime service failed".* code = NotFound/,
    // A probe that takes too long, or whose container ends meanwhile.
    /"ExecSync cmd from runtime service failed".* code = (DeadlineExceeded|FailedPrecondition|NotFound) /,
    // The program of the pod `missing`.
    /"StartContainer from runtime service failed".* exec: \\?"\/no\/such\/program\\?"/,
    // Asked to learn whether the call is there at all.
    /"PodSandbox from runtime service failed".* podSandboxID=""$/,
  ];
  return kubeletLog
    .split("\n")
    .filter((line) =>
      /^[EWF]\d{4} .*(?:remote_runtime|remote_image|generic|evented)\.go/.test(line),
    )
    .filter((line) => !expected.some((one) => one.test(line)));
}

/** What crib took for failures of its own. */
export function errorsOf(cribLog: string): readonly string[] {
  const expected = [
    /"rpc":"ExecSync".*"DeadlineExceeded"/,
    /"rpc":"PodSandboxStats".* id is missing/,
    // The state directory was emptied.
    /"msg":"sandbox lost"/,
  ];
  return cribLog
    .split("\n")
    .filter((line) => /"level":"(?:warn|error)"/.test(line))
    .filter((line) => !expected.some((one) => one.test(line)));
}
