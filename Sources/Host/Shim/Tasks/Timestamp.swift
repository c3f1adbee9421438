import Glibc
import SwiftProtobuf

extension Google_Protobuf_Timestamp {
    init(_ time: timespec) {
        self.init()
        seconds = Int64(time.tv_sec)
        nanos = Int32(time.tv_nsec)
    }
}
