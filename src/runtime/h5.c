/* Attributes, string arrays and row slabs of HDF5 files, serial or parallel; checksums. */
#include "file_private.h"
#include <errno.h>
#include <perturbdiff/runtime/clones.h>
#include <string.h>
#include <sys/statvfs.h>

/* Most bytes one rank moves in one call: below the 2 GiB that MPI and the system can take, and bounds their buffers. */
static const size_t slice_bytes = (size_t)256 << 20;

/* Name of the file that holds an object. */
static void file_name(hid_t object, char path[PETSC_MAX_PATH_LEN])
{
  if (H5Fget_name(object, path, PETSC_MAX_PATH_LEN) < 0) strcpy(path, "(unnamed file)");
}

int h5_filter_name(hid_t properties, unsigned i, char *text, size_t size)
{
  static const struct {
    int         number;
    const char *name;
  } known[] = {{1, "gzip"}, {2, "shuffle"}, {3, "fletcher32"}, {4, "szip"}, {307, "bzip2"}, {32000, "lzf"}, {32001, "blosc"}, {32004, "lz4"}, {32008, "bitshuffle"},
               {32013, "zfp"}, {32015, "zstd"}, {32026, "blosc2"}};
  unsigned  flags;
  size_t    values = 0;
  char      stored[64] = "";
  const int number = H5Pget_filter2(properties, i, &flags, &values, NULL, sizeof stored, stored, NULL);
  const char *name = stored;

  for (size_t k = 0; k < sizeof known / sizeof *known; k++)
    if (known[k].number == number) name = known[k].name;
  if (*name) snprintf(text, size, "%s (HDF5 filter %d)", name, number);
  else snprintf(text, size, "HDF5 filter %d", number);
  return number;
}

PetscErrorCode h5_write_failed(hid_t object)
{
  char           path[PETSC_MAX_PATH_LEN];
  struct statvfs space;

  file_name(object, path);
  /* The system's error number does not survive MPI-IO and HDF5. */
  const PetscBool full = !statvfs(path, &space) && (double)space.f_bavail * (double)space.f_frsize < 1 << 20;
  return file_error(path, "write", full ? ENOSPC : EIO);
}

/* Communicator the file of an object was opened on, MPI_COMM_SELF for a serial one; free_file_comm afterwards. */
static PetscErrorCode file_comm(hid_t object, MPI_Comm *comm)
{
  MPI_Info    info;
  const hid_t file = H5Iget_file_id(object);

  *comm = MPI_COMM_SELF;
  H5Check(file);
  const hid_t access_list = H5Fget_access_plist(file);
  H5Check(access_list);
  if (H5Pget_driver(access_list) == H5FD_MPIO) {
    H5Check(H5Pget_fapl_mpio(access_list, comm, &info));
    if (info != MPI_INFO_NULL) PetscCallMPI(MPI_Info_free(&info));
  }
  H5Check(H5Pclose(access_list));
  H5Check(H5Fclose(file));
  return PETSC_SUCCESS;
}

static PetscErrorCode free_file_comm(MPI_Comm *comm)
{
  if (*comm != MPI_COMM_SELF) PetscCallMPI(MPI_Comm_free(comm));
  return PETSC_SUCCESS;
}

/* UTF-8 string type of a number of bytes, or H5T_VARIABLE. */
static PetscErrorCode string_type(size_t size, hid_t *type)
{
  *type = H5Tcopy(H5T_C_S1);
  H5Check(*type);
  H5Check(H5Tset_size(*type, size));
  H5Check(H5Tset_cset(*type, H5T_CSET_UTF8));
  if (size != H5T_VARIABLE) H5Check(H5Tset_strpad(*type, H5T_STR_NULLPAD));
  return PETSC_SUCCESS;
}

static PetscErrorCode write_attribute(hid_t object, const char *name, hid_t type, hid_t space, const void *value)
{
  const htri_t exists = H5Aexists(object, name);

  H5Check(exists);
  if (exists) H5Check(H5Adelete(object, name));
  const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Check(attribute);
  H5Check(H5Awrite(attribute, type, value));
  H5Check(H5Aclose(attribute));
  H5Check(H5Sclose(space));
  return PETSC_SUCCESS;
}

PetscErrorCode h5_write_attribute_string(hid_t object, const char *name, const char *value)
{
  hid_t type;

  PetscCall(string_type(H5T_VARIABLE, &type));
  PetscCall(write_attribute(object, name, type, H5Screate(H5S_SCALAR), &value));
  H5Check(H5Tclose(type));
  return PETSC_SUCCESS;
}

PetscErrorCode h5_write_attribute_strings(hid_t object, const char *name, PetscInt count, const char *const *values)
{
  hid_t         type;
  const hsize_t extent = (hsize_t)count;

  PetscCall(string_type(H5T_VARIABLE, &type));
  PetscCall(write_attribute(object, name, type, H5Screate_simple(1, &extent, NULL), values));
  H5Check(H5Tclose(type));
  return PETSC_SUCCESS;
}

PetscErrorCode h5_write_attribute_int64(hid_t object, const char *name, int64_t value)
{
  return write_attribute(object, name, H5T_NATIVE_INT64, H5Screate(H5S_SCALAR), &value);
}

PetscErrorCode h5_write_attribute_double(hid_t object, const char *name, double value)
{
  return write_attribute(object, name, H5T_NATIVE_DOUBLE, H5Screate(H5S_SCALAR), &value);
}

/* Open an attribute of one value whose class is among those given; attribute < 0 when there is none. */
static PetscErrorCode open_attribute(hid_t object, const char *name, const H5T_class_t *classes, size_t count, hid_t *attribute, hid_t *type, PetscBool *found)
{
  PetscBool    suits = PETSC_FALSE;
  const htri_t exists = H5Aexists(object, name);

  *attribute = *type = H5I_INVALID_HID;
  if (exists > 0) {
    *attribute = H5Aopen(object, name, H5P_DEFAULT);
    H5Check(*attribute);
    *type = H5Aget_type(*attribute);
    H5Check(*type);
    const hid_t space = H5Aget_space(*attribute);
    H5Check(space);
    if (H5Sget_simple_extent_npoints(space) == 1)
      for (size_t c = 0; c < count; c++) suits = suits || H5Tget_class(*type) == classes[c];
    H5Check(H5Sclose(space));
  }
  if (!suits && *attribute >= 0) {
    H5Check(H5Tclose(*type));
    H5Check(H5Aclose(*attribute));
    *attribute = H5I_INVALID_HID;
  }
  if (found) *found = suits;
  if (!suits && !found) SETERRQ(PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "attribute '%s' is missing or of another kind", name);
  return PETSC_SUCCESS;
}

static PetscErrorCode read_number(hid_t object, const char *name, hid_t memory_type, const H5T_class_t *classes, size_t count, void *value, PetscBool *found)
{
  hid_t attribute, type;

  PetscCall(open_attribute(object, name, classes, count, &attribute, &type, found));
  if (attribute < 0) return PETSC_SUCCESS;
  H5Check(H5Aread(attribute, memory_type, value));
  H5Check(H5Tclose(type));
  H5Check(H5Aclose(attribute));
  return PETSC_SUCCESS;
}

PetscErrorCode h5_read_attribute_int64(hid_t object, const char *name, int64_t *value, PetscBool *found)
{
  static const H5T_class_t classes[] = {H5T_INTEGER, H5T_ENUM};
  return read_number(object, name, H5T_NATIVE_INT64, classes, 2, value, found);
}

PetscErrorCode h5_read_attribute_double(hid_t object, const char *name, double *value, PetscBool *found)
{
  static const H5T_class_t classes[] = {H5T_FLOAT, H5T_INTEGER};
  return read_number(object, name, H5T_NATIVE_DOUBLE, classes, 2, value, found);
}

/* Copy of a fixed-length string without its padding. */
static PetscErrorCode copy_padded(const char *bytes, size_t size, H5T_str_t padding, char **copy)
{
  size_t length = strnlen(bytes, size);

  if (padding == H5T_STR_SPACEPAD)
    while (length && bytes[length - 1] == ' ') length--;
  PetscCall(PetscMalloc1(length + 1, copy));
  memcpy(*copy, bytes, length);
  (*copy)[length] = 0;
  return PETSC_SUCCESS;
}

PetscErrorCode h5_read_attribute_string(hid_t object, const char *name, char **value, PetscBool *found)
{
  static const H5T_class_t classes[] = {H5T_STRING};
  hid_t                    attribute, type;

  *value = NULL;
  PetscCall(open_attribute(object, name, classes, 1, &attribute, &type, found));
  if (attribute < 0) return PETSC_SUCCESS;
  if (H5Tis_variable_str(type) > 0) {
    char *text = NULL;
    H5Check(H5Aread(attribute, type, &text));
    PetscCall(PetscStrallocpy(text ? text : "", value));
    H5free_memory(text);
  } else {
    char        *bytes;
    const size_t size = H5Tget_size(type);
    PetscCall(PetscCalloc1(size + 1, &bytes));
    H5Check(H5Aread(attribute, type, bytes));
    PetscCall(copy_padded(bytes, size, H5Tget_strpad(type), value));
    PetscCall(PetscFree(bytes));
  }
  H5Check(H5Tclose(type));
  H5Check(H5Aclose(attribute));
  return PETSC_SUCCESS;
}

PetscBool h5_exists(hid_t location, const char *name)
{
  char         part[PETSC_MAX_PATH_LEN];
  const size_t length = strlen(name);

  if (!length || length >= sizeof part) return PETSC_FALSE;
  /* H5Lexists wants every group on the way to exist. */
  for (size_t end = 1; end <= length; end++) {
    if (end < length && name[end] != '/') continue;
    memcpy(part, name, end);
    part[end] = 0;
    if (!strcmp(part, "/") || part[end - 1] == '/') continue;
    if (H5Lexists(location, part, H5P_DEFAULT) <= 0 || H5Oexists_by_name(location, part, H5P_DEFAULT) <= 0) return PETSC_FALSE;
  }
  return PETSC_TRUE;
}

/* Number of the slices of rows that fit slice_bytes; at least one row a slice. */
static hsize_t slice_rows(size_t row_bytes)
{
  const size_t rows = row_bytes ? slice_bytes / row_bytes : slice_bytes;
  return rows ? rows : 1;
}

/* Collective writing of all slices; the ranks with less to write take part with nothing. */
static PetscErrorCode write_slices(hid_t set, MPI_Comm comm, hid_t type, const hsize_t extent[2], int dimensions, hsize_t first, hsize_t rows,
                                   const char *values)
{
  const size_t  row_bytes = H5Tget_size(type) * (dimensions > 1 ? extent[1] : 1);
  const hsize_t step = slice_rows(row_bytes);
  uint64_t      slices = (rows + step - 1) / step;
  herr_t        status = 0;
  static char   nothing[8];

  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &slices, 1, MPI_UINT64_T, MPI_MAX, comm));
  const hid_t transfer = H5Pcreate(H5P_DATASET_XFER), file_space = H5Dget_space(set);
  H5Check(transfer);
  H5Check(file_space);
  if (comm != MPI_COMM_SELF) H5Check(H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE));
  for (uint64_t s = 0; s < slices; s++) {
    const hsize_t done = s * step < rows ? s * step : rows, count = rows - done < step ? rows - done : step;
    const hsize_t start[2] = {first + done, 0}, block[2] = {count, extent[1]};
    const hid_t   memory_space = H5Screate_simple(dimensions, block, NULL);
    H5Check(memory_space);
    if (count && (dimensions == 1 || extent[1]))
      H5Check(H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, block, NULL));
    else {
      H5Check(H5Sselect_none(file_space));
      H5Check(H5Sselect_none(memory_space));
    }
    /* After a failure go on with the others, or they wait for ever. */
    const herr_t written = H5Dwrite(set, type, memory_space, file_space, transfer, count ? values + done * row_bytes : nothing);
    if (written < 0) status = written;
    H5Check(H5Sclose(memory_space));
  }
  H5Check(H5Sclose(file_space));
  H5Check(H5Pclose(transfer));
  return status < 0 ? h5_write_failed(set) : PETSC_SUCCESS;
}

/* Claim a set's bytes before it is made, see draft_reserve. */
static PetscErrorCode reserve(hid_t location, uint64_t bytes)
{
  char        path[PETSC_MAX_PATH_LEN];
  const hid_t file = H5Iget_file_id(location);

  H5Check(file);
  file_name(file, path);
  PetscErrorCode code = draft_reserve(path, file, bytes);
  H5Check(H5Fclose(file));
  return code;
}

PetscErrorCode h5_write_slab(hid_t location, const char *name, hid_t type, PetscInt64 total_rows, PetscInt64 columns, PetscInt64 first, PetscInt64 rows,
                             const void *values)
{
  const int      dimensions = columns ? 2 : 1;
  const hsize_t  extent[2] = {(hsize_t)total_rows, (hsize_t)columns};
  MPI_Comm       comm;
  PetscErrorCode code;
  int            rank;

  if (first < 0 || rows < 0 || first + rows > total_rows)
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%s: rows %lld to %lld of %lld", name, (long long)first, (long long)(first + rows),
            (long long)total_rows);
  PetscCall(file_comm(location, &comm));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  code = error_agree(comm, rank ? PETSC_SUCCESS : reserve(location, (uint64_t)(total_rows * (columns ? columns : 1)) * H5Tget_size(type)));
  if (code) {
    PetscCall(free_file_comm(&comm));
    return code;
  }
  const hid_t space = H5Screate_simple(dimensions, extent, NULL), creation = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
  H5Check(space);
  H5Check(creation);
  H5Check(links);
  H5Check(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER));
  H5Check(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY));
  H5Check(H5Pset_create_intermediate_group(links, 1));
  const hid_t set = H5Dcreate2(location, name, type, space, links, creation, H5P_DEFAULT);
  H5Check(set);
  code = error_agree(comm, write_slices(set, comm, type, extent, dimensions, (hsize_t)first, (hsize_t)rows, values));
  H5Check(H5Dclose(set));
  H5Check(H5Pclose(links));
  H5Check(H5Pclose(creation));
  H5Check(H5Sclose(space));
  PetscCall(free_file_comm(&comm));
  return code;
}

/* Open a data set for reading. dimensions: 1 or 2. */
static PetscErrorCode open_set(hid_t location, const char *name, hid_t *set, hsize_t extent[2], int *dimensions)
{
  char path[PETSC_MAX_PATH_LEN];

  extent[0] = extent[1] = 0;
  *set = h5_exists(location, name) ? H5Dopen2(location, name, H5P_DEFAULT) : H5I_INVALID_HID;
  if (*set < 0) {
    file_name(location, path);
    return error_user("%s: no data set '%s'; the file is damaged or of another kind", path, name);
  }
  const hid_t space = H5Dget_space(*set);
  H5Check(space);
  *dimensions = H5Sget_simple_extent_ndims(space);
  if (*dimensions == 1 || *dimensions == 2) H5Check(H5Sget_simple_extent_dims(space, extent, NULL));
  H5Check(H5Sclose(space));
  if (*dimensions == 1 || *dimensions == 2) return PETSC_SUCCESS;
  file_name(location, path);
  H5Check(H5Dclose(*set));
  return error_user("%s: data set '%s' has %d dimensions where 1 or 2 are expected; the file is damaged or of another kind", path, name, *dimensions);
}

PetscErrorCode h5_extent(hid_t location, const char *name, PetscInt64 *rows, PetscInt64 *columns)
{
  hsize_t extent[2];
  hid_t   set;
  int     dimensions;

  PetscCall(open_set(location, name, &set, extent, &dimensions));
  H5Check(H5Dclose(set));
  *rows = (PetscInt64)extent[0];
  if (columns) *columns = dimensions == 2 ? (PetscInt64)extent[1] : 0;
  return PETSC_SUCCESS;
}

PetscErrorCode h5_read_slab(hid_t location, const char *name, hid_t type, PetscInt64 first, PetscInt64 rows, void *values)
{
  hsize_t extent[2];
  hid_t   set;
  int     dimensions;
  herr_t  status = 0;

  PetscCall(open_set(location, name, &set, extent, &dimensions));
  if (first < 0 || rows < 0 || (hsize_t)(first + rows) > extent[0])
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%s: rows %lld to %lld of %llu", name, (long long)first, (long long)(first + rows),
            (unsigned long long)extent[0]);
  const size_t  row_bytes = H5Tget_size(type) * (dimensions > 1 ? extent[1] : 1);
  const hsize_t step = slice_rows(row_bytes);
  const hid_t   file_space = H5Dget_space(set);
  H5Check(file_space);
  for (hsize_t done = 0; done < (hsize_t)rows && status >= 0 && row_bytes; done += step) {
    const hsize_t count = (hsize_t)rows - done < step ? (hsize_t)rows - done : step;
    const hsize_t start[2] = {(hsize_t)first + done, 0}, block[2] = {count, extent[1]};
    const hid_t   memory_space = H5Screate_simple(dimensions, block, NULL);
    H5Check(memory_space);
    H5Check(H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, block, NULL));
    status = H5Dread(set, type, memory_space, file_space, H5P_DEFAULT, (char *)values + done * row_bytes);
    H5Check(H5Sclose(memory_space));
  }
  H5Check(H5Sclose(file_space));
  H5Check(H5Dclose(set));
  if (status >= 0) return PETSC_SUCCESS;
  char path[PETSC_MAX_PATH_LEN];
  file_name(location, path);
  return error_user("%s: data set '%s' cannot be read; the file is damaged or of another kind", path, name);
}

PetscErrorCode h5_write_strings(hid_t location, const char *name, PetscInt64 count, const char *const *strings)
{
  size_t   width = 1;
  char    *bytes;
  hid_t    type;
  MPI_Comm comm;
  int      rank;

  PetscCall(file_comm(location, &comm));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(free_file_comm(&comm));
  for (PetscInt64 i = 0; i < count; i++) width = PetscMax(width, strlen(strings[i]));
  PetscCall(string_type(width, &type));
  PetscCall(PetscCalloc1(rank ? 1 : width * (size_t)count + 1, &bytes));
  for (PetscInt64 i = 0; !rank && i < count; i++) memcpy(bytes + (size_t)i * width, strings[i], strlen(strings[i]));
  PetscErrorCode code = h5_write_slab(location, name, type, count, 0, 0, rank ? 0 : count, bytes);
  PetscCall(PetscFree(bytes));
  H5Check(H5Tclose(type));
  return code;
}

/* Strings of a set opened by h5_read_strings; unreadable: the data cannot be read. */
static PetscErrorCode copy_strings(hid_t set, hid_t type, size_t count, char **strings, PetscBool *unreadable)
{
  const PetscBool variable = H5Tis_variable_str(type) > 0;
  const size_t    size = H5Tget_size(type);
  char           *bytes;

  PetscCall(PetscCalloc1(size * count + 1, &bytes));
  *unreadable = H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) < 0;
  for (size_t i = 0; i < count && !*unreadable; i++) {
    if (variable) {
      char *const text = ((char **)(void *)bytes)[i];
      PetscCall(PetscStrallocpy(text ? text : "", &strings[i]));
    } else
      PetscCall(copy_padded(bytes + i * size, size, H5Tget_strpad(type), &strings[i]));
  }
  if (variable && !*unreadable) {
    const hid_t space = H5Dget_space(set);
    H5Check(space);
    H5Check(H5Dvlen_reclaim(type, space, H5P_DEFAULT, bytes));
    H5Check(H5Sclose(space));
  }
  PetscCall(PetscFree(bytes));
  return PETSC_SUCCESS;
}

PetscErrorCode h5_read_strings(hid_t location, const char *name, PetscInt64 *count, char ***strings)
{
  hsize_t   extent[2];
  hid_t     set;
  int       dimensions;
  PetscBool unreadable = PETSC_TRUE;

  *count = 0;
  *strings = NULL;
  PetscCall(open_set(location, name, &set, extent, &dimensions));
  const hid_t type = H5Dget_type(set);
  H5Check(type);
  if (dimensions == 1 && H5Tget_class(type) == H5T_STRING) {
    PetscCall(PetscCalloc1(extent[0] + 1, strings));
    PetscCall(copy_strings(set, type, extent[0], *strings, &unreadable));
  }
  H5Check(H5Tclose(type));
  H5Check(H5Dclose(set));
  if (!unreadable) {
    *count = (PetscInt64)extent[0];
    return PETSC_SUCCESS;
  }
  char path[PETSC_MAX_PATH_LEN];
  PetscCall(PetscFree(*strings));
  file_name(location, path);
  return error_user("%s: data set '%s' is not a readable list of strings; the file is damaged or of another kind", path, name);
}

/* Finaliser of SplitMix64 on a word and its place (Steele, Lea, Flood, OOPSLA 2014). */
static inline uint64_t mix_word(uint64_t word, uint64_t place)
{
  uint64_t z = word + (place + 1) * UINT64_C(0x9E3779B97F4A7C15);

  z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
  return z ^ z >> 31;
}

/* Sum over whole words; unaligned words are read as bytes. */
VECTOR_CLONES static uint64_t mix_words(const char *text, size_t words, uint64_t place)
{
  uint64_t sum = 0;

#pragma omp simd reduction(+ : sum)
  for (size_t w = 0; w < words; w++) {
    uint64_t word;

    memcpy(&word, text + 8 * w, 8);
    sum += mix_word(word, place + w);
  }
  return sum;
}

uint64_t checksum_piece(const void *bytes, size_t size, uint64_t position)
{
  const char    *text = bytes;
  const size_t   words = size / 8, rest = size % 8;
  const uint64_t place = position / 8;
  uint64_t       sum = mix_words(text, words, place), word;

  if (rest) { /* the length goes into the empty top byte: zeros at the end count */
    word = (uint64_t)rest << 56;
    memcpy(&word, text + 8 * words, rest);
    sum += mix_word(word, place + words);
  }
  return sum;
}
