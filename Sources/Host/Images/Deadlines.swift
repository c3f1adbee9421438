import LinuxKernel

extension Deadline {
    static let tool = Deadline(
        .seconds(600), for: "a program that makes a part of an image or a kernel configuration",
        then: "it is killed, and the image is not made")
    static let kernelBuild = Deadline(
        .seconds(4 * 3600), for: "a kernel to compile", then: "it is killed")
}
